//! Domain types of Linkspan: networks, sandboxes, endpoints, addresses and published ports.
//!
//! Nothing here does IO and nothing knows a foreign wire format; every value that exists is valid,
//! because the only way to make one from text is a parser that refuses the rest.

/// Stores a type as the text that it prints and parses.
macro_rules! text_form {
    ($type:ident) => {
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
        impl TryFrom<String> for $type {
            type Error = crate::Invalid;
            fn try_from(text: String) -> Result<Self, crate::Invalid> {
                text.parse()
            }
        }
    };
}

mod attachment;
mod card;
mod endpoint;
mod error;
mod fixture;
mod ground;
mod id;
mod mac;
mod name;
mod network;
mod options;
mod parent;
mod patch;
mod port;
mod reservation;
mod sandbox;
mod shaping;

pub use attachment::{Attachment, Guests, Isolation, Part};
pub use card::Card;
pub use endpoint::{Endpoint, Lease, Wire};
pub use error::{Invalid, nearest};
pub use fixture::{
    Admission, BridgeFixture, BridgePort, DeviceFixture, DeviceKind, Fixture, LimitsFixture, RouteFixture,
    Setting, Side, VethFixture,
};
pub use ground::{Bar, Barred, OwnBridge};
pub use id::Id;
pub use mac::Mac;
pub use name::{HostName, IfName, Name};
pub use network::{Core, Driver, IpamRequest, Network, Pool, PoolRequest};
pub use options::{BridgeOptions, OptionMap, Uplink};
pub use parent::{ChildKind, HostAccess, IpvlanFlag, IpvlanMode, MacvlanMode, Parent, ParentOptions, Vlan};
pub use patch::is_patch;
pub use port::{Family, PortRange, Protocol, PublishSpec, Published, TargetPort};
pub use reservation::{Holder, Reservation};
pub use sandbox::{HostAlias, LinkSpec, NAME_SERVER, NamespaceSource, NetAttach, NetSpec, Sandbox};
pub use shaping::{Limit, Rate, Shaping, ShapingRequest, Size};
