//! A site's blueprint: a folder of JSON files, read strictly, with every error shown where it stands.
//!
//! Start at [`load`], which reads a folder, and at [`model::Blueprint`], which is what comes out. On the way: a file's
//! text becomes a tree with places (`tree`), which is checked along the JSON Schema of the types in [`source`] (`check`),
//! all files become one namespace (`namespace`), and that becomes the model (`resolve`). Whatever is wrong is collected
//! on the way (`report`) and comes out as [`Diagnostic`]s, all at once.

pub mod catalog;
pub mod codes;
pub mod init;
pub mod loopback;
pub mod model;
pub mod names;
pub mod secret;
pub mod settings;
pub mod source;
pub mod values;

mod check;
mod compose;
mod cycles;
mod declared;
mod diagnostic;
mod explain;
mod feature_checks;
mod feature_files;
mod files;
mod kin;
mod load;
mod namespace;
mod parameters;
mod read;
mod reads_as_text;
mod report;
mod resolve;
pub mod retarget;
mod schema;
mod stack_files;
mod suggest;
mod tree;

pub use diagnostic::{Diagnostic, Failure, Related, Severity, SourceText, Sources, to_text};
pub use explain::{Explanation, explain, reference_markdown};
pub use feature_checks::TEMPLATE_NAMES;
pub use feature_files::Catalog;
pub use load::{Loaded, load, load_from_memory};
pub use schema::{feature_schema, schema, stack_schema};
pub use suggest::nearest;
