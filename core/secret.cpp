#include "core/secret.hpp"

#include <cstring>

namespace mailherd {

void wipe(void* data, std::size_t size) noexcept {
  if (size == 0) return;
  // glibc promises that explicit_bzero survives dead-store elimination.
  explicit_bzero(data, size);
}

bool equal_in_constant_time(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    difference = static_cast<unsigned char>(difference | (static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i])));
  return difference == 0;
}

}  // namespace mailherd
