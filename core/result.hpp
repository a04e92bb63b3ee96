// core/result: the one way an operation reports that it did not succeed.
//
// Owns:   the alias `result<T>` and the helper `fail()`.
// Never:  throws. Exceptions of libraries are turned into an `error` at the edge where the library is called.
// Used by: every room.
#pragma once

#include <tl/expected.hpp>

#include <string>
#include <utility>

#include "core/error.hpp"

namespace mailherd {

template <class T>
using result = tl::expected<T, error>;

/// Builds the unexpected side of a `result`.
inline tl::unexpected<error> fail(failure code, std::string detail = {}) {
  return tl::unexpected<error>(error{code, std::move(detail), {}});
}

inline tl::unexpected<error> fail(error e) { return tl::unexpected<error>(std::move(e)); }

}  // namespace mailherd
