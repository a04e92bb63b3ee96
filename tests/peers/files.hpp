// tests/peers/files: directories that disappear, free ports, whole files, and waiting for a condition.
//
// Owns:   the small file and socket chores that every peer shares.
// Never:  leaves a directory behind. Not for the product.
// Errors: everything in tests/peers throws `peer_error`: a test whose peer failed must end there, and the demo says it in one line.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace mailherd::peers {

/// A peer that could not be started, or did not do what it was told. The text says which, and shows the end of its log.
class peer_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A new directory under $TMPDIR (or /tmp), mode 0755, removed with everything in it. A short path: Unix sockets may live in it.
class temp_dir {
 public:
  explicit temp_dir(std::string_view prefix = "mailherd");
  ~temp_dir();
  temp_dir(temp_dir&& other) noexcept;
  temp_dir& operator=(temp_dir&& other) noexcept;
  temp_dir(const temp_dir&) = delete;
  temp_dir& operator=(const temp_dir&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// A TCP port of 127.0.0.1 that nothing listens on at this moment. Another process may take it before the caller binds it: a server
/// that is given such a port must be started again with another one when its bind fails (the peers here do).
std::uint16_t free_port();

/// True if something accepts TCP connections there.
bool port_open(std::uint16_t port, const std::string& address = "127.0.0.1");

std::string read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, std::string_view content, unsigned mode = 0644);

/// True if any user may enter this directory (made if missing): servers started by root run their workers as somebody else.
bool reachable_for_all(const std::filesystem::path& directory);

/// The last `bytes` of a log, for error texts; empty if there is none.
std::string tail(const std::filesystem::path& path, std::size_t bytes = 2000);

/// Lowercase hex SHA-256.
std::string sha256_hex(std::string_view bytes);

/// Asks `condition` every few milliseconds until it is true; false if `timeout` passes first. Never a fixed sleep.
bool wait_until(const std::function<bool()>& condition, std::chrono::milliseconds timeout);

}  // namespace mailherd::peers
