//! Creating and joining namespaces; see namespaces(7).
