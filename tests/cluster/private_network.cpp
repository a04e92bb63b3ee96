// tests/cluster/private_network: implementation.
#include "tests/cluster/private_network.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/peers/files.hpp"

namespace mailherd::test {

using peers::peer_error;

namespace {

constexpr const char* near_mac = "02:00:00:00:00:01";
constexpr const char* far_mac = "02:00:00:00:00:02";
constexpr const char* nobodys_mac = "02:00:00:00:00:99";
constexpr std::chrono::seconds limit{20};

void run(std::vector<std::string> command) {
  const auto [status, output] = peers::run({.argv = command}, limit);
  if (status != 0) throw peer_error(fmt::format("{}: {}", fmt::join(command, " "), output));
}

bool write_proc(const char* file, const std::string& text) {
  const int fd = ::open(file, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool done = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return done;
}

/// A user who is not root keeps his name within the new namespace, so that servers which refuse root work; and programs he starts keep the right to
/// make and join networks there.
bool take_rights(uid_t user, gid_t group) {
  if (!write_proc("/proc/self/setgroups", "deny") || !write_proc("/proc/self/uid_map", fmt::format("{0} {0} 1", user)) ||
      !write_proc("/proc/self/gid_map", fmt::format("{0} {0} 1", group)))
    return false;
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct have[2]{};
  if (::syscall(SYS_capget, &head, have) != 0) return false;
  for (const auto right : {CAP_NET_ADMIN, CAP_SYS_ADMIN}) have[CAP_TO_INDEX(right)].inheritable |= CAP_TO_MASK(right);
  if (::syscall(SYS_capset, &head, have) != 0) return false;
  for (const auto right : {CAP_NET_ADMIN, CAP_SYS_ADMIN})
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, right, 0, 0) != 0) return false;
  return true;
}

bool loopback_up() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  ifreq lo{};
  std::strncpy(lo.ifr_name, "lo", IFNAMSIZ - 1);
  bool up = ::ioctl(fd, SIOCGIFFLAGS, &lo) == 0;
  lo.ifr_flags = static_cast<short>(lo.ifr_flags | IFF_UP | IFF_RUNNING);
  up = up && ::ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
  ::close(fd);
  return up;
}

/// In a child first: what fails half-way would leave this process without any network.
bool enter_for_good() {
  const auto user = ::geteuid();
  const auto group = ::getegid();
  if (user == 0) return ::unshare(CLONE_NEWNET) == 0 && loopback_up();
  return ::unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 && take_rights(user, group) && loopback_up();
}

std::string namespace_of(const std::string& process) {
  std::error_code none;
  return std::filesystem::read_symlink(fmt::format("/proc/{}/ns/net", process), none).string();
}

}  // namespace

bool private_network::enter() {
  for (const char* tool : {"ip", "unshare", "nsenter", "sleep"})
    if (!peers::find_program(tool)) return false;
  const pid_t child = ::fork();
  if (child == 0) {
    // Not every kernel that has namespaces has wires for them.
    const bool works = enter_for_good() && peers::run({.argv = {"ip", "link", "add", "one", "type", "veth", "peer", "name", "other"}}, limit).first == 0;
    ::_exit(works ? 0 : 1);
  }
  int status = 1;
  if (child < 0 || ::waitpid(child, &status, 0) != child || status != 0) return false;
  return enter_for_good();
}

private_network::private_network() : holder_({.argv = {"unshare", "--net", "sleep", "3600"}}) {
  const auto own = namespace_of("self");
  holder_.wait_ready(
      [&] {
        const auto theirs = namespace_of(std::to_string(holder_.id()));
        return !theirs.empty() && theirs != own;
      },
      limit);
  there({"ip", "link", "set", "lo", "up"});
  wire("db", "10.77.1");
  wire("other", "10.77.2");
  restore();
}

void private_network::wire(const std::string& name, const std::string& net) const {
  const auto far = name + "-far";
  run({"ip", "link", "add", name, "address", near_mac, "type", "veth", "peer", "name", far, "address", far_mac, "netns",
       std::to_string(holder_.id())});
  run({"ip", "addr", "add", net + ".1/24", "dev", name});
  run({"ip", "link", "set", name, "up"});
  there({"ip", "addr", "add", net + ".2/24", "dev", far});
  there({"ip", "link", "set", far, "up"});
}

std::vector<std::string> private_network::launcher() const { return {"nsenter", "--net", "--target", std::to_string(holder_.id())}; }

void private_network::there(std::vector<std::string> command) const {
  auto all = launcher();
  all.insert(all.end(), command.begin(), command.end());
  run(all);
}

void private_network::aim(const std::string& near, const std::string& far) const {
  run({"ip", "neigh", "replace", "10.77.1.2", "lladdr", far, "dev", "db", "nud", "permanent"});
  there({"ip", "neigh", "replace", near_database, "lladdr", near, "dev", "db-far", "nud", "permanent"});
}

std::size_t private_network::connections_to(std::uint16_t port) {
  // Of proc(5)'s tcp: local and remote address in hexadecimal, as they lie in memory, and the state; 01 is established.
  in_addr far{};
  ::inet_pton(AF_INET, far_other, &far);
  const auto local = fmt::format(":{:04X}", port), remote = fmt::format("{:08X}:", far.s_addr);
  std::ifstream table("/proc/self/net/tcp");
  std::size_t count = 0;
  for (std::string number, here, there, state, rest; table >> number >> here >> there >> state && std::getline(table, rest);)
    count += here.ends_with(local) && there.starts_with(remote) && state == "01" ? 1 : 0;
  return count;
}

void private_network::cut() { aim(nobodys_mac, nobodys_mac); }
void private_network::restore() { aim(near_mac, far_mac); }

}  // namespace mailherd::test
