#pragma once

namespace spatialmamba {

/// Lets the C library keep memory that is freed, up to blocks of 32 MiB, instead of handing it back to the
/// system: each pass of a training step asks for the same blocks again, and would get them page by page.
/// Concerns the whole process, so it is a program's decision, before its first pass. Does nothing but with
/// glibc.
void keep_freed_memory();

}  // namespace spatialmamba
