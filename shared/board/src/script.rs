//! The scripts, loaded once per server: sent by digest, whole when the server does not know them.

use redis::Script;

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        /// Every compound change.
        pub(crate) struct Scripts {
            $(pub(crate) $name: Script,)*
        }

        impl Scripts {
            pub(crate) fn new() -> Self {
                Self {
                    $($name: Script::new(include_str!(concat!(
                        "../scripts/", stringify!($name), ".lua"
                    ))),)*
                }
            }
        }
    };
}

scripts!(
    campaign,
    resign,
    enter,
    leave,
    set_fact,
    stamp,
    open,
    advance,
    retire,
    forget,
    post_miner,
    post_clips,
    wanted_clips,
    rights,
);
