// Holds the precompiled header that every LibTorch user shares.
