#include "node/memory.hpp"

#include <malloc.h>

namespace mailherd::node {

namespace {
constexpr int mapped_from = 256 * 1024;   // bytes; setting it ends glibc's own adjusting
constexpr int kept_at_most = 1024 * 1024;
constexpr int arenas = 2;
}  // namespace

void return_memory_early() {
  mallopt(M_MMAP_THRESHOLD, mapped_from);
  mallopt(M_TRIM_THRESHOLD, kept_at_most);
  mallopt(M_ARENA_MAX, arenas);
}

}  // namespace mailherd::node
