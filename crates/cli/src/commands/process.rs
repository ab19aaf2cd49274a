//! `linkspan run` and `linkspan exec`: programs in a sandbox.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use linkspan_engine::{Engine, Files};
use linkspan_kernel::{Failed, Host, process};
use linkspan_model::{Name, NamespaceSource, Sandbox};

use crate::Outcome;
use crate::args::{ExecArgs, RunArgs};
use crate::commands::sandbox::request;
use crate::output::Problem;
