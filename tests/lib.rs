//! The program, tested from outside as its users meet it: see `it/`.
