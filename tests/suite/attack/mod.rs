//! The server held under attack: each attack is refused or bounded, and whoever behaves is served meanwhile.

mod crowds;
