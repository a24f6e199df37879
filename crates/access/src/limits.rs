//! The bounds of this crate, each with its reason.

/// Bytes of a password or ACL file: a few hundred thousand users, and not a disk by accident.
pub(crate) const FILE_BYTES_MAX: u64 = 64 << 20;

/// Kibibytes one argon2 hash may take: two are computed at once, and each takes this much.
pub(crate) const ARGON2_KIB_MAX: u32 = 1 << 20;

/// Passes of argon2: more than this is seconds for each CONNECT.
pub(crate) const ARGON2_PASSES_MAX: u32 = 64;

/// Iterations of PBKDF2: about a second for each CONNECT.
pub(crate) const PBKDF2_ITERATIONS_MAX: u32 = 2_000_000;

/// Mistakes that are told; behind them only their number.
pub(crate) const MISTAKES_TOLD: usize = 20;
