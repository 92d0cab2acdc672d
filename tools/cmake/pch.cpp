// A source for the libraries that hold the precompiled headers.
