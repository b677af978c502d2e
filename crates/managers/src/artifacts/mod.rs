//! Artifacts: programs that no package of the distribution brings, such as step-ca and Traefik.
//!
//! One list pins them (`catalog/artifacts.json`, see [`List`]); each has a version and one or more sources. [`Store`]
//! gets one from the mirror, the cache or its first source that works, and puts it into a guest. The cache is by
//! content, so a copy of its folder is a mirror: a rebuild works when the upstream is gone.
//!
//! Start at [`Store`]; `cache` keeps, `go` and `fetch` obtain, `guest` puts in place, and [`versions`] knows which
//! versions do not go together. `age` tells which have grown old.

mod age;
mod cache;
mod error;
mod fetch;
mod go;
mod guest;
mod list;
mod store;
pub mod versions;

pub use age::{Aged, OLD, aged};
pub use cache::{Cache, Found, Key};
pub use error::Error;
pub use list::{Artifact, Hole, List, ListError, Sha256Sum, Source, builtin};
pub use store::{Refusing, Simulated, Standing, Store};
