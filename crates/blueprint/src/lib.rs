//! A site's blueprint: a folder of JSON files, read strictly, with every error shown where it stands.
//!
//! Start at [`model::Blueprint`], which is what comes out.

pub mod catalog;
pub mod model;
