// tests/peers/files: implementation.
#include "tests/peers/files.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <fmt/format.h>

namespace mailherd::peers {

namespace fs = std::filesystem;

temp_dir::temp_dir(std::string_view prefix) {
  const char* base = std::getenv("TMPDIR");
  // Unix sockets' paths end at 107 bytes: a long TMPDIR would make servers fail in ways nobody understands.
  const bool usable = base != nullptr && *base != 0 && std::strlen(base) < 40 && reachable_for_all(base);
  std::string name = fmt::format("{}/{}-XXXXXX", usable ? base : "/tmp", prefix);
  if (::mkdtemp(name.data()) == nullptr) throw peer_error(fmt::format("cannot make a directory like {}: {}", name, std::strerror(errno)));
  path_ = name;
  ::chmod(name.c_str(), 0755);
}

temp_dir::~temp_dir() {
  if (path_.empty()) return;
  std::error_code ignored;
  // A server that is just ending may still write: a second pass finds what came in between.
  for (int pass = 0; pass < 3 && fs::exists(path_, ignored); ++pass) fs::remove_all(path_, ignored);
}

temp_dir::temp_dir(temp_dir&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }

temp_dir& temp_dir::operator=(temp_dir&& other) noexcept {
  std::swap(path_, other.path_);
  return *this;
}

namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  const bool ok = fd >= 0 && ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  if (fd >= 0) ::close(fd);
  if (!ok) throw peer_error(fmt::format("no free port: {}", std::strerror(errno)));
  return ntohs(address.sin_port);
}

bool port_open(std::uint16_t port, const std::string& host) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  sockaddr_in address = loopback(port);
  ::inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  const bool open = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return open;
}

std::string read_file(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw peer_error(fmt::format("cannot read {}: {}", path.string(), std::strerror(errno)));
  std::string content;
  std::array<char, 65536> buffer;
  ssize_t got = 0;
  while ((got = ::read(fd, buffer.data(), buffer.size())) > 0) content.append(buffer.data(), static_cast<std::size_t>(got));
  ::close(fd);
  if (got < 0) throw peer_error(fmt::format("cannot read {}: {}", path.string(), std::strerror(errno)));
  return content;
}

void write_file(const fs::path& path, std::string_view content, unsigned mode) {
  // Written beside and renamed: a server that reads at any moment sees the old file or the new one.
  const std::string beside = path.string() + ".new";
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) throw peer_error(fmt::format("cannot write {}: {}", path.string(), std::strerror(errno)));
  ::fchmod(fd, mode);
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t put = ::write(fd, content.data() + done, content.size() - done);
    if (put < 0) break;
    done += static_cast<std::size_t>(put);
  }
  ::close(fd);
  if (done != content.size() || ::rename(beside.c_str(), path.c_str()) != 0)
    throw peer_error(fmt::format("cannot write {}: {}", path.string(), std::strerror(errno)));
}

bool reachable_for_all(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  const fs::path real = fs::canonical(directory, error);
  if (error) return false;
  for (fs::path step = real;; step = step.parent_path()) {
    struct stat info {};
    if (::stat(step.c_str(), &info) != 0 || (info.st_mode & S_IXOTH) == 0) return false;
    if (step == step.root_path()) return true;
  }
}

std::string tail(const fs::path& path, std::size_t bytes) {
  std::error_code error;
  if (path.empty() || !fs::exists(path, error)) return {};
  std::string content = read_file(path);
  if (content.size() > bytes) content.erase(0, content.size() - bytes);
  return content;
}

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) throw peer_error("SHA-256 failed");
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

bool wait_until(const std::function<bool()>& condition, std::chrono::milliseconds timeout) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    if (condition()) return true;
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // between two looks at the condition
  }
}

}  // namespace mailherd::peers
