//! What each language runtime's locks look like from outside.
