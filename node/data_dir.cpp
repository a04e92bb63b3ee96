// node/data_dir: files made whole, one node at a time; see the header.
#include "node/data_dir.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

#include "core/limits.hpp"

namespace mailherd::node {

namespace fs = std::filesystem;

namespace {

tl::unexpected<error> system_error(const fs::path& path, std::string_view what) {
  return fail(failure::invalid_input, fmt::format("{} {}: {}", path.string(), what, std::generic_category().message(errno)));
}

result<void> write_whole(const fs::path& path, const secret<>& value) {
  const fs::path draft = path.string() + ".new";
  const int fd = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return system_error(draft, "cannot be written");
  const auto line = secret<>(value.reveal() + "\n");
  const bool ok = ::fchmod(fd, 0600) == 0 &&
                  ::write(fd, line.reveal().data(), line.reveal().size()) == static_cast<ssize_t>(line.reveal().size()) && ::fsync(fd) == 0;
  if (::close(fd) != 0 || !ok || ::rename(draft.c_str(), path.c_str()) != 0) return system_error(path, "cannot be written");
  // The name as well: a key that is gone after a power cut takes every sealed credential with it.
  if (const int directory = ::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); directory >= 0) {
    ::fsync(directory);
    ::close(directory);
  }
  return {};
}

}  // namespace

result<data_dir> data_dir::open(const fs::path& path) {
  std::error_code why;
  fs::path absolute = fs::absolute(path, why).lexically_normal();
  if (absolute.filename().empty()) absolute = absolute.parent_path();
  if (!fs::exists(absolute, why)) {
    fs::create_directories(absolute.parent_path(), why);
    // The database of a node that root started runs as somebody else, who must be able to pass through; what lies here is 0600.
    if (::mkdir(absolute.c_str(), ::geteuid() == 0 ? 0711 : 0700) != 0 && errno != EEXIST) return system_error(absolute, "cannot be made");
  }
  const auto lock_file = absolute / "lock";
  const int fd = ::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return system_error(lock_file, "cannot be written");
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const bool taken = errno == EWOULDBLOCK;
    ::close(fd);
    if (!taken) return system_error(lock_file, "cannot be locked");
    return fail(failure::conflict, fmt::format("{} is in use by another node", absolute.string()));
  }
  return data_dir(std::move(absolute), fd);
}

data_dir::data_dir(data_dir&& other) noexcept : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

data_dir::~data_dir() {
  if (lock_ >= 0) ::close(lock_);
}

result<data_dir::held> data_dir::secret_in(std::string_view file, const std::function<secret<>()>& make) const {
  const auto path = path_ / file;
  struct stat found{};
  if (::stat(path.c_str(), &found) == 0) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return system_error(path, "cannot be read");
    std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    if (bytes.empty() || bytes.size() > limits::secret_file_bytes)
      return fail(failure::invalid_input, fmt::format("{} is empty or too large: put back what it held", path.string()));
    return held{secret<>(std::move(bytes)), false};
  }
  if (errno != ENOENT) return system_error(path, "cannot be read");
  auto value = make();
  if (auto written = write_whole(path, value); !written) return fail(written.error());
  return held{std::move(value), true};
}

secret<> random_token() {
  std::array<unsigned char, 32> bytes{};
  // Never short for so few bytes (getrandom(2)); without randomness there is nothing sensible left to do.
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) std::abort();
  std::string text;
  for (const auto b : bytes) text += fmt::format("{:02x}", b);
  return secret<>(std::move(text));
}

}  // namespace mailherd::node
