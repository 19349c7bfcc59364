//! The app: hosts of the engine.
