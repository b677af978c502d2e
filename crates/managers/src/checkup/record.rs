//! Lines of words with tabs between them, and the types they become; printed, they are the same lines.

/// A word of a line.
pub(super) trait Field: Sized + std::fmt::Debug + 'static {
    /// What it says, where it says that.
    fn read(text: &str) -> Option<Self>;
    /// As it stands in a line.
    fn write(&self) -> String;
    /// Whatever it may be.
    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self>;
}

impl Field for String {
    fn read(text: &str) -> Option<Self> {
        Some(text.chars().filter(|c| !c.is_control()).collect())
    }

    fn write(&self) -> String {
        self.clone()
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::strategy::Strategy as _;
        "[^\\p{Cc}]{0,12}".boxed()
    }
}

macro_rules! numbers {
    ($($t:ty),*) => {$(
        impl Field for $t {
            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn write(&self) -> String {
                self.to_string()
            }

            #[cfg(test)]
            fn any() -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::strategy::Strategy as _;
                proptest::num::i32::ANY.prop_map(|n| Self::from(n.unsigned_abs())).boxed()
            }
        }
    )*};
}
numbers!(u64, i64);

impl Field for bool {
    fn read(text: &str) -> Option<Self> {
        match text {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }

    fn write(&self) -> String {
        if *self { "yes" } else { "no" }.to_owned()
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self> {
        proptest::strategy::Strategy::boxed(proptest::bool::ANY)
    }
}

/// Nothing, or `-`, where it is not known.
impl<T: Field> Field for Option<T> {
    fn read(text: &str) -> Option<Self> {
        Some(if matches!(text, "" | "-") { None } else { T::read(text) })
    }

    fn write(&self) -> String {
        self.as_ref().map_or_else(|| "-".to_owned(), T::write)
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::strategy::Strategy as _;
        let said = |it: &T| !matches!(it.write().as_str(), "" | "-");
        (proptest::bool::ANY, T::any())
            .prop_map(move |(known, it)| Some(it).filter(|it| known && said(it)))
            .boxed()
    }
}

/// Types of lines: the word each begins with, and its fields.
macro_rules! records {
    ($($(#[$doc:meta])* $name:ident = $word:literal { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $kind,)* }

        impl $name {
            const WORD: &'static str = $word;

            fn read(words: &mut std::str::Split<'_, char>) -> Option<Self> {
                Some(Self { $($field: <$kind as Field>::read(words.next()?)?,)* })
            }

            fn write(&self) -> String {
                let words: Vec<String> = vec![$word.to_owned(), $(Field::write(&self.$field),)*];
                words.join("\t")
            }

            #[cfg(test)]
            fn any() -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::strategy::Strategy as _;
                ($(<$kind as Field>::any(),)*).prop_map(|($($field,)*)| Self { $($field,)* }).boxed()
            }
        }
    )*};
}

/// All that the lines may say: of some things there is one, of others many.
macro_rules! facts {
    (one { $($(#[$one_doc:meta])* $one:ident: $one_kind:ident,)* } many { $($(#[$doc:meta])* $many:ident: $kind:ident,)* }) => {
        /// What a node says about itself.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Facts {
            $($(#[$one_doc])* pub $one: Option<$one_kind>,)*
            $($(#[$doc])* pub $many: Vec<$kind>,)*
        }

        impl Facts {
            /// Takes one line in. One that says nothing known is passed over: a newer or an older node may say more.
            fn take(&mut self, line: &str) {
                let mut words = line.split('\t');
                match words.next().unwrap_or_default() {
                    $($one_kind::WORD => self.$one = $one_kind::read(&mut words).or(self.$one.take()),)*
                    $($kind::WORD => self.$many.extend($kind::read(&mut words)),)*
                    _ => {}
                }
            }
        }

        impl std::fmt::Display for Facts {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $(if let Some(it) = &self.$one { writeln!(f, "{}", it.write())?; })*
                $(for it in &self.$many { writeln!(f, "{}", it.write())?; })*
                Ok(())
            }
        }

        /// Some line that a node may say, of whatever kind.
        #[cfg(test)]
        fn any_line() -> impl proptest::strategy::Strategy<Value = String> {
            use proptest::strategy::Strategy as _;
            proptest::strategy::Union::new([
                $($one_kind::any().prop_map(|it| it.write()).boxed(),)*
                $($kind::any().prop_map(|it| it.write()).boxed(),)*
            ])
        }
    };
}
