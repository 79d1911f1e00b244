//! Variables that Kubernetes adds to every pod for every Service of the namespace (`enableServiceLinks`, on by
//! default). For a Service called `nexis-scheduler` they look like settings of ours: `NEXIS_SCHEDULER_PORT`.

use std::net::{IpAddr, SocketAddr};

/// Whether a variable is one of those, by its name and by its value.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let Some(rest) = name.strip_prefix("NEXIS") else {
        return false;
    };
    let value = value.trim();
    if rest.ends_with("_SERVICE_HOST") {
        return is_ip(value);
    }
    if let Some((_, port_name)) = rest.rsplit_once("_SERVICE_PORT") {
        return (port_name.is_empty() || port_name.starts_with('_')) && is_port(value);
    }
    match rest.rsplit_once("_PORT_") {
        // `…_PORT_9090_TCP_PORT` ends like the whole link does.
        Some((_, part)) => is_part(part, value),
        None => rest.ends_with("_PORT") && is_link(value),
    }
}

/// `9090_TCP`, `9090_TCP_PROTO`, `9090_TCP_PORT` or `9090_TCP_ADDR`.
fn is_part(part: &str, value: &str) -> bool {
    let mut words = part.split('_');
    let (number, protocol) = (words.next().unwrap_or_default(), words.next());
    if !is_port(number) || !matches!(protocol, Some("TCP" | "UDP" | "SCTP")) {
        return false;
    }
    let fits = match words.next() {
        None => is_link(value),
        Some("PROTO") => matches!(value, "tcp" | "udp" | "sctp"),
        Some("PORT") => is_port(value),
        Some("ADDR") => is_ip(value),
        Some(_) => false,
    };
    fits && words.next().is_none()
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// `tcp://10.0.0.1:9090`.
fn is_link(text: &str) -> bool {
    let place = text
        .split_once("://")
        .and_then(|(protocol, place)| matches!(protocol, "tcp" | "udp" | "sctp").then_some(place));
    place.is_some_and(|place| place.parse::<SocketAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::is_service_link;

    #[test]
    fn what_the_kubelet_adds_is_told_from_a_setting_by_name_and_value() {
        for (name, value, link) in [
            ("NEXIS_SCHEDULER_SERVICE_HOST", "10.96.0.7", true),
            ("NEXIS_SCHEDULER_SERVICE_HOST", "fd00::7", true),
            ("NEXIS_SCHEDULER_SERVICE_PORT", "9090", true),
            ("NEXIS_SCHEDULER_SERVICE_PORT_METRICS", "9090", true),
            ("NEXIS_SCHEDULER_SERVICE_PORT_HTTP_METRICS", "9090", true),
            ("NEXIS_SCHEDULER_PORT", "tcp://10.96.0.7:9090", true),
            ("NEXIS_SCHEDULER_PORT", "udp://[fd00::7]:53", true),
            (
                "NEXIS_SCHEDULER_PORT_9090_TCP",
                "tcp://10.96.0.7:9090",
                true,
            ),
            ("NEXIS_SCHEDULER_PORT_9090_TCP_PROTO", "tcp", true),
            ("NEXIS_SCHEDULER_PORT_9090_TCP_PORT", "9090", true),
            ("NEXIS_SCHEDULER_PORT_9090_TCP_ADDR", "10.96.0.7", true),
            // A Service called just `nexis`.
            ("NEXIS_SERVICE_HOST", "10.96.0.7", true),
            ("NEXIS_PORT", "tcp://10.96.0.7:9090", true),
            ("NEXIS_SCHEDULER_SERVICE_HOST", "somewhere", false),
            ("NEXIS_SCHEDULER_SERVICE_PORT", "many", false),
            ("NEXIS_SCHEDULER_SERVICE_PORTS", "9090", false),
            ("NEXIS_SCHEDULER_PORT", "9090", false),
            ("NEXIS_SCHEDULER_PORT_9090_TCP_ADDR", "tcp", false),
            ("NEXIS_SCHEDULER_PORT_9090_TCP_ADDR_X", "10.96.0.7", false),
            ("NEXIS_SCHEDULER_PORT_X_TCP", "tcp://10.96.0.7:9090", false),
            ("NEXIS_NETUD", "70", false),
            ("BT_SCHEDULER_PORT", "tcp://10.96.0.7:9090", false),
        ] {
            assert_eq!(is_service_link(name, value), link, "{name}={value}");
        }
    }
}
