//! Two queue services that speak the real REST protocols.
