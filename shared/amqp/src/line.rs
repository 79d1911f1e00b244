//! One route in one version of the wire. Each has queues of its own, so that a worker gets only what it reads: while a
//! fleet is upgraded, old and new programs work side by side and both queues drain.

use nexis_ports::Route;
use nexis_wire::WireVersion;

/// A route in a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The route.
    pub route: Route,
    /// The version of its messages.
    pub version: WireVersion,
}

impl Line {
    /// Where this program publishes the jobs of a route.
    pub const fn current(route: Route) -> Self {
        Self {
            route,
            version: WireVersion::CURRENT,
        }
    }

    /// Where this program takes jobs of a route from; the oldest version first, whose rounds close first.
    pub fn readable(route: Route) -> impl Iterator<Item = Self> {
        WireVersion::ALL
            .into_iter()
            .map(move |version| Self { route, version })
    }

    /// All there are.
    pub fn all() -> impl Iterator<Item = Self> {
        Route::ALL.into_iter().flat_map(Self::readable)
    }

    /// Its routing key, and the end of its queue's name.
    pub fn name(self) -> String {
        match self.version {
            // From before the names had a version in them.
            WireVersion::V2 => self.route.name().to_owned(),
            WireVersion::V3 => format!("{}.{}", self.route.name(), self.version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Line;

    #[test]
    fn each_line_has_a_name_of_its_own_and_those_of_version_2_stay() {
        let names: Vec<String> = Line::all().map(Line::name).collect();
        assert_eq!(names, ["miner", "miner.v3", "clip", "clip.v3"]);
    }
}
