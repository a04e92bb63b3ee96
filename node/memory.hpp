// node/memory: how the C library's allocator treats a program that moves megabytes of mail and then idles for hours.
//
// Owns:   two settings of malloc(3), made once before any thread starts.
// Never:  changes what is allocated, only when it is given back.
#pragma once

namespace mailherd::node {

/// Large buffers are mapped and given back at once (glibc would raise that threshold with every buffer freed, and keep them), and few arenas serve all
/// threads (each would keep its own remains).
void return_memory_early();

}  // namespace mailherd::node
