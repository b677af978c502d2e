//! What can be wrong with a feature, the order of several, or the script made of them.

/// Why a feature cannot be worked out for a guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A template has an error, or uses what is not defined.
    #[error("failed to render `{file}` of the feature `{feature}`, line {line}: {reason}")]
    Template {
        /// The feature.
        feature: String,
        /// The template's file, or the place in `feature.json`.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A parameter that has no default was not given.
    #[error("the feature `{feature}` needs the parameter `{parameter}`")]
    MissingParameter {
        /// The feature.
        feature: String,
        /// The parameter.
        parameter: String,
    },
    /// A parameter that the feature does not have was given.
    #[error("the feature `{feature}` has no parameter `{parameter}`")]
    UnknownParameter {
        /// The feature.
        feature: String,
        /// The parameter.
        parameter: String,
    },
    /// A parameter has a value that it cannot have.
    #[error("the parameter `{parameter}` of the feature `{feature}` {reason}")]
    BadParameter {
        /// The feature.
        feature: String,
        /// The parameter.
        parameter: String,
        /// What is wrong, to be read after the name: `must be a list`.
        reason: String,
    },
    /// Something in `feature.json` cannot be.
    #[error("`{place}` in the feature `{feature}` {reason}")]
    BadSpec {
        /// The feature.
        feature: String,
        /// Where in `feature.json`, e.g. `files[0].path`.
        place: String,
        /// What is wrong, to be read after the place.
        reason: String,
    },
}

impl RenderError {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::MissingParameter { feature, parameter } => Some(format!(
                "write {{ \"{feature}\": {{ \"{parameter}\": … }} }} in the container's features"
            )),
            Self::UnknownParameter { feature, .. } => {
                Some(format!("phoenix-cli explain {feature} lists its parameters"))
            }
            Self::BadSpec { reason, .. } if reason.contains("secret") => {
                Some("put the secret into a file of mode 0600 and let the program read that".to_owned())
            }
            _ => None,
        }
    }
}

/// Why features cannot be put in an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// A required feature does not exist.
    #[error("the feature `{feature}` requires `{required}`, which does not exist")]
    Missing {
        /// Who requires.
        feature: String,
        /// What is required.
        required: String,
    },
    /// Features that require each other.
    #[error("features require each other: {}", names.join(" → "))]
    Cycle {
        /// The names, the first repeated at the end.
        names: Vec<String>,
    },
}

/// Why no script can be made of rendered features.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// Two features want the same file.
    #[error("the features `{first}` and `{second}` both want to be `{path}`")]
    Conflict {
        /// The file.
        path: String,
        /// The one feature.
        first: String,
        /// The other feature.
        second: String,
    },
    /// A secret cannot be had.
    #[error("failed to get a secret for the feature `{feature}`")]
    Secret {
        /// The feature that needs it.
        feature: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
