// core/secret: a value that cannot be printed by accident.
//
// Owns:   `secret<T>`: no stream operator, formats as "***", compares in constant time, wiped on destruction.
// Never:  converts implicitly. `reveal()` is the only way out and is easy to grep for.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace mailherd {

/// Overwrites memory in a way the compiler may not remove.
void wipe(void* data, std::size_t size) noexcept;

/// True if both are equal; takes the same time wherever they differ (their lengths may leak).
bool equal_in_constant_time(std::string_view a, std::string_view b) noexcept;

template <class T = std::string>
class secret {
 public:
  secret() = default;
  explicit secret(T value) : value_(std::move(value)) {}
  secret(const secret&) = default;
  secret(secret&& other) noexcept : value_(std::move(other.value_)) { other.clear(); }
  secret& operator=(const secret& other) {
    if (this != &other) {
      clear();
      value_ = other.value_;
    }
    return *this;
  }
  secret& operator=(secret&& other) noexcept {
    if (this != &other) {
      clear();
      value_ = std::move(other.value_);
      other.clear();
    }
    return *this;
  }
  ~secret() { clear(); }

  /// The value itself. Every call is a place where a secret can leak: keep the result local.
  [[nodiscard]] const T& reveal() const noexcept { return value_; }
  [[nodiscard]] bool empty() const noexcept { return value_.empty(); }

  friend bool operator==(const secret& a, const secret& b) noexcept { return equal_in_constant_time(a.value_, b.value_); }

 private:
  void clear() noexcept {
    // A small string lives inside the object: the wipe covers the capacity, not only the size.
    value_.resize(value_.capacity());
    wipe(value_.data(), value_.size() * sizeof(typename T::value_type));
    value_.clear();
  }

  T value_;
};

}  // namespace mailherd

template <class T>
struct fmt::formatter<mailherd::secret<T>> {
  constexpr auto parse(format_parse_context& ctx) { return ctx.begin(); }
  template <class Context>
  auto format(const mailherd::secret<T>&, Context& ctx) const {
    return fmt::format_to(ctx.out(), "***");
  }
};
