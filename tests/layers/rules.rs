//! Who must not use what, and why.

/// What a package of ours may depend on among our packages.
pub struct Layer {
    pub package: &'static str,
    pub may_use: &'static [&'static str],
    /// What its tests may use besides; `linkspan-lab` always.
    pub in_tests: &'static [&'static str],
    pub why: &'static str,
}

const FRONTEND: &[&str] = &["linkspan-model", "linkspan-engine", "linkspan-kernel"];
const FRONTEND_WHY: &str = "a frontend converts its format into the model and calls the engine; of the kernel it \
                            uses processes, namespaces to enter and privileges";

pub const LAB: &str = "linkspan-lab";

pub const LAYERS: &[Layer] = &[
    Layer {
        package: "linkspan-model",
        may_use: &[],
        in_tests: &[],
        why: "the model is what all others share: it knows none of them",
    },
    Layer {
        package: "linkspan-plan",
        may_use: &["linkspan-model"],
        in_tests: &[],
        why: "decisions are pure functions of model values",
    },
    Layer {
        package: "linkspan-kernel",
        may_use: &["linkspan-model", "linkspan-plan"],
        in_tests: &[],
        why: "the kernel crate carries out steps; it neither remembers nor decides",
    },
    Layer {
        package: "linkspan-store",
        may_use: &["linkspan-model"],
        in_tests: &[],
        why: "the store keeps model values; it neither plans nor touches the kernel",
    },
    Layer {
        package: "linkspan-dns",
        may_use: &["linkspan-model"],
        in_tests: &[],
        why: "names are answered from model values",
    },
    Layer {
        package: "linkspan-engine",
        may_use: &["linkspan-model", "linkspan-plan", "linkspan-store"],
        in_tests: &["linkspan-kernel"],
        why: "the engine reaches the kernel only through plan's trait, so that it is tested on a fake",
    },
    Layer {
        package: "linkspan-blueprint",
        may_use: &["linkspan-model", "linkspan-plan", "linkspan-engine", "linkspan-kernel"],
        in_tests: &[],
        why: "a file is a frontend like the command line, which asks it for plans; it works with any kernel of plan's \
              trait, and its programs and checks are processes in namespaces",
    },
    Layer {
        package: "linkspan-cli",
        may_use: &[
            "linkspan-model",
            "linkspan-plan",
            "linkspan-engine",
            "linkspan-kernel",
            "linkspan-blueprint",
            "linkspan-cni",
            "linkspan-netavark",
            "linkspan-aardvark",
            "linkspan-agent",
        ],
        in_tests: &[],
        why: "the command line shows steps and elements as plan has them, and the demo builds its LAN of them; it \
              installs the links that the plugins are started by, and it is how the agent is started; \
              the store is the engine's alone",
    },
    Layer {
        package: "linkspan-cni",
        may_use: &[
            "linkspan-model",
            "linkspan-plan",
            "linkspan-engine",
            "linkspan-kernel",
            "linkspan-agent",
            "linkspan-dhcp",
        ],
        in_tests: &[],
        why: "a plugin converts its format into the model and calls the engine; what the kernel refuses and what it \
              has comes in plan's words; what it names has to be told to whoever answers; a daemon keeps its leases",
    },
    Layer {
        package: "linkspan-netavark",
        may_use: &[
            "linkspan-model",
            "linkspan-plan",
            "linkspan-engine",
            "linkspan-kernel",
            "linkspan-aardvark",
            "linkspan-dhcp",
        ],
        in_tests: &[],
        why: "as the CNI frontend; its containers' names are in the DNS server's files, their leases kept by the proxy",
    },
    Layer {
        package: "linkspan-aardvark",
        may_use: &["linkspan-model", "linkspan-kernel", "linkspan-dns"],
        in_tests: &[],
        why: "it reads names from files and serves them; it knows no engine, as others may write the files",
    },
    Layer {
        package: "linkspan-dhcp",
        may_use: &["linkspan-model", "linkspan-plan", "linkspan-kernel"],
        in_tests: &[],
        why: "it keeps leases of interfaces that others made; what the kernel refuses comes in plan's words",
    },
    Layer { package: "linkspan-docker", may_use: FRONTEND, in_tests: &[], why: FRONTEND_WHY },
    Layer { package: "linkspan-oci", may_use: FRONTEND, in_tests: &[], why: FRONTEND_WHY },
    Layer {
        package: "linkspan-agent",
        may_use: &["linkspan-model", "linkspan-engine", "linkspan-kernel", "linkspan-dns"],
        in_tests: &[],
        why: FRONTEND_WHY,
    },
    Layer {
        package: "linkspan",
        may_use: &[
            "linkspan-model",
            "linkspan-plan",
            "linkspan-kernel",
            "linkspan-store",
            "linkspan-dns",
            "linkspan-engine",
            "linkspan-blueprint",
            "linkspan-cli",
            "linkspan-cni",
            "linkspan-netavark",
            "linkspan-aardvark",
            "linkspan-dhcp",
            "linkspan-docker",
            "linkspan-oci",
            "linkspan-agent",
        ],
        in_tests: &[],
        why: "main wires what users run; the lab and xtask are for developers",
    },
    Layer {
        package: LAB,
        may_use: &["linkspan-model", "linkspan-kernel"],
        in_tests: &[],
        why: "the lab builds hosts to test on; it must not lean on what is under test",
    },
    Layer {
        package: "xtask",
        may_use: &[LAB, "linkspan-kernel"],
        in_tests: &[],
        why: "developer commands measure the program from outside",
    },
];

/// Who may depend on a foreign crate directly.
pub struct Link {
    pub crates: &'static [&'static str],
    pub by: By,
    /// Whether tests are held to it too.
    pub in_tests: bool,
    pub why: &'static str,
}

pub enum By {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

const SHORT_PATH: &[&str] = &[
    "linkspan-model",
    "linkspan-plan",
    "linkspan-kernel",
    "linkspan-store",
    "linkspan-engine",
    "linkspan-blueprint",
    "linkspan-cli",
    "linkspan-cni",
    "linkspan-netavark",
];

pub const LINKS: &[Link] = &[
    Link {
        crates: &["rusqlite", "libsqlite3-sys"],
        by: By::Only(&["linkspan-store"]),
        in_tests: true,
        why: "one crate owns the schema and the transactions",
    },
    Link {
        crates: &["nix", "libc", "rustix"],
        by: By::Only(&["linkspan-kernel", "linkspan-store", "linkspan-dns", "linkspan-dhcp", LAB]),
        in_tests: false,
        why: "system calls are the kernel crate's; the store locks its files, servers take many datagrams at once, the lab \
              builds hosts",
    },
    Link {
        crates: &["clap", "clap_complete", "clap_mangen", "comfy-table"],
        by: By::Only(&["linkspan-cli"]),
        in_tests: true,
        why: "flags and tables belong to the command line frontend",
    },
    Link {
        crates: &["serde_yaml", "serde_yaml_ng", "toml"],
        by: By::AllBut(&["linkspan-model", "linkspan-plan", "linkspan-kernel"]),
        in_tests: false,
        why: "formats are read and written at the edges",
    },
    Link {
        crates: &["serde_json"],
        by: By::AllBut(&["linkspan-model", "linkspan-plan"]),
        in_tests: false,
        why: "formats are read and written at the edges; the kernel crate speaks JSON-RPC with Open vSwitch",
    },
    Link {
        crates: &["schemars"],
        by: By::Only(&["linkspan-blueprint"]),
        in_tests: true,
        why: "the schema is made of the types that read a file, by a test; the program carries the result",
    },
    Link {
        crates: &["tokio", "hyper", "axum", "async-std", "smol", "etcd-client", "reqwest", "tonic"],
        by: By::AllBut(SHORT_PATH),
        in_tests: false,
        why: "the short path starts in a millisecond: no async runtime, no HTTP",
    },
];

/// What sources must not contain.
pub struct Ban {
    /// Path prefixes that the rule holds for.
    pub within: &'static [&'static str],
    pub except: &'static [&'static str],
    pub what: &'static [Find],
    /// Whether test code is held to it too.
    pub in_tests: bool,
    pub why: &'static str,
}

#[derive(Debug)]
pub enum Find {
    /// Code: a path or a name, whole; `use` trees are spelled out first.
    Code(&'static str),
    /// A word within a name or a string, in any case: `cni` is in `CniResult` and `"cni.dev/x"`.
    Word(&'static str),
}

use Find::{Code, Word};

const PURE: &[&str] = &["crates/model/src", "crates/plan/src"];
const LIBRARIES: &[&str] =
    &["crates/model/src", "crates/plan/src", "crates/kernel/src", "crates/store/src", "crates/engine/src"];

pub const BANS: &[Ban] = &[
    Ban {
        within: &[""],
        except: &["crates/kernel/", "crates/lab/"],
        what: &[Code("unsafe")],
        in_tests: true,
        why: "unsafe code lives in the kernel crate (and the lab), behind safe functions",
    },
    Ban {
        within: &["src/", "crates/"],
        except: &["crates/lab/"],
        what: &[Code("Command::new"), Code("std::process::Command")],
        in_tests: false,
        why: "the kernel is changed over netlink, never by a spawned program",
    },
    Ban {
        within: PURE,
        except: &[],
        what: &[
            Code("std::fs"),
            Code("std::io"),
            Code("std::env"),
            Code("std::process"),
            Code("std::thread"),
            Code("std::os"),
            Code("TcpStream"),
            Code("TcpListener"),
            Code("UdpSocket"),
            Code("UnixStream"),
            Code("nix"),
            Code("libc"),
            Code("rustix"),
            Code("SystemTime::now"),
            Code("Instant::now"),
        ],
        in_tests: false,
        why: "model and plan are pure: no IO, no clock, no system call",
    },
    Ban {
        within: &["src/", "crates/"],
        except: &["crates/store/"],
        what: &[Code("rusqlite"), Code("libsqlite3_sys")],
        in_tests: true,
        why: "one crate owns the schema and the transactions",
    },
    Ban {
        within: &["crates/model/src", "crates/plan/src", "crates/engine/src"],
        except: &[],
        what: &[Word("cni"), Word("netavark"), Word("aardvark"), Word("etcd")],
        in_tests: false,
        why: "wire formats live in their frontend, with a conversion into the model",
    },
    Ban {
        within: LIBRARIES,
        except: &[],
        what: &[Code("println!"), Code("print!"), Code("eprintln!"), Code("eprint!"), Code("dbg!")],
        in_tests: false,
        why: "libraries return values and errors; frontends print",
    },
    Ban {
        within: LIBRARIES,
        except: &[],
        what: &[Code("process::exit")],
        in_tests: false,
        why: "only a frontend decides the exit status; a library returns an error",
    },
];

/// Longer source files than this are split.
pub const LINES: usize = 600;
pub const LINES_WHY: &str = "a file is about 500 lines: split it by what it holds";

pub const SAFETY_WHY: &str = "an unsafe block says why it holds in a `// SAFETY:` comment right above it";
