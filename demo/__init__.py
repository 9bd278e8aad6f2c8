"""The demonstration: real sync requests through every part, on local servers, shown and checked."""
