//! What must not leave: values that Nomad sends in clear and that are nobody's business in a log store.
