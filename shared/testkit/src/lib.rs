//! Real servers as children of a test, on free loopback ports, gone when the test ends.
