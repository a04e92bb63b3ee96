// tests/peers/dovecot_server: life and accounts; mail is in dovecot_mail.cpp.
#include "tests/peers/dovecot_server.hpp"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <mutex>

#include <fmt/format.h>

#include "tests/peers/dovecot_state.hpp"
#include "tests/peers/files.hpp"

namespace mailherd::peers {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr seconds start_timeout{20};
constexpr int start_tries = 4;

dovecot_places make_places(const fs::path& root, const fs::path& run_dir) {
  dovecot_places places;
  places.root = root;
  places.run_dir = run_dir;
  places.mail_dir = root / "mail";
  places.passwd_file = root / "passwd";
  places.log_file = root / "dovecot.log";
  places.as_root = ::geteuid() == 0;
  if (!places.as_root) {
    const passwd* user = ::getpwuid(::geteuid());
    const group* own_group = ::getgrgid(::getegid());
    if (user == nullptr || own_group == nullptr) throw peer_error("Dovecot needs a user and a group with names");
    places.self_user = user->pw_name;
    places.self_group = own_group->gr_name;
  }
  return places;
}

}  // namespace

void dovecot_server::state::own(const fs::path& path) const {
  if (places.as_root && ::lchown(path.c_str(), mail_uid, mail_gid) != 0)
    throw peer_error(fmt::format("cannot give {} to the mail user: {}", path.string(), std::strerror(errno)));
}

void dovecot_server::state::write_users() {
  std::string text;
  for (const auto& [address, password] : users) text += fmt::format("{}:{}::::::\n", address, password);
  // The auth process reads it by change of time or size, at every login.
  write_file(places.passwd_file, text, 0644);
}

void dovecot_server::state::launch() {
  server.emplace(process_options{.argv = {"dovecot", "-F", "-c", config.string()},
                                 .log_file = places.root / "stdout.log",
                                 .death_signal = SIGTERM});  // told to stop, the master takes its children with it
  const auto ready = [this] {
    return port_open(places.imap) && port_open(places.imaps) && port_open(places.pop3) && port_open(places.pop3s) &&
           fs::exists(places.run_dir / "auth-userdb");
  };
  server->wait_ready(ready, start_timeout);
}

void dovecot_server::state::begin(bool new_ports) {
  std::string reason;
  for (int attempt = 0; attempt < start_tries; ++attempt) {
    try {
      if (new_ports) {
        places.imap = free_port();
        places.imaps = free_port();
        places.pop3 = free_port();
        places.pop3s = free_port();
        config = write_dovecot_config(options, places, tls);
      }
      launch();
      return;
    } catch (const peer_error& error) {
      // Somebody took a port between free_port() and here, or a stopping predecessor still holds it.
      server.reset();
      reason = fmt::format("{}\n{}", error.what(), tail(places.log_file));
    }
  }
  throw peer_error("Dovecot does not start: " + reason);
}

dovecot_server::dovecot_server(dovecot_options options) : state_(std::make_unique<state>()) {
  if (!installed()) throw peer_error("Dovecot is not installed (packages dovecot-imapd and dovecot-pop3d)");
  state& s = *state_;
  s.options = std::move(options);
  const bool root_usable = !s.options.root.empty() && reachable_for_all(s.options.root);
  s.places = make_places(root_usable ? fs::absolute(s.options.root) : s.own_dir.path(), s.own_dir / "run");
  if (s.places.as_root) {
    const passwd* nobody = ::getpwnam("nobody");
    if (nobody == nullptr) throw peer_error("no user nobody, who would own the mail");
    s.mail_uid = nobody->pw_uid;
    s.mail_gid = nobody->pw_gid;
  }
  fs::create_directories(s.places.run_dir);
  fs::create_directories(s.places.mail_dir);
  s.own(s.places.mail_dir);
  if (s.options.tls.certificate_file.empty()) {
    s.ca.emplace(s.places.root);
    s.tls = s.ca->issue();
  } else {
    s.tls = s.options.tls;
  }
  for (const auto& user : s.options.users) s.users[user.address] = user.password;
  s.write_users();
  s.begin(true);
}

dovecot_server::~dovecot_server() {
  if (state_->server) state_->server->terminate(seconds(5));
}

bool dovecot_server::installed() { return find_program("dovecot").has_value() && find_program("doveadm").has_value(); }

std::uint16_t dovecot_server::imap_port() const noexcept { return state_->places.imap; }
std::uint16_t dovecot_server::imaps_port() const noexcept { return state_->places.imaps; }
std::uint16_t dovecot_server::pop3_port() const noexcept { return state_->places.pop3; }
std::uint16_t dovecot_server::pop3s_port() const noexcept { return state_->places.pop3s; }
fs::path dovecot_server::ca_file() const { return state_->ca ? state_->ca->ca_file() : fs::path(); }
fs::path dovecot_server::log_file() const { return state_->places.log_file; }
fs::path dovecot_server::root() const { return state_->places.root; }

void dovecot_server::stop() {
  if (!state_->server) return;
  state_->server->terminate(seconds(10));
  state_->server.reset();
}

void dovecot_server::kill() {
  if (!state_->server) return;
  state_->server->kill();
  state_->server.reset();
  // Its pid file would make the next master believe that one still runs.
  std::error_code ignored;
  fs::remove(state_->places.run_dir / "master.pid", ignored);
}

void dovecot_server::start() {
  if (!state_->server) state_->begin(false);
}

void dovecot_server::restart() {
  stop();
  start();
}

void dovecot_server::freeze() {
  if (state_->server) state_->server->stop();
}
void dovecot_server::thaw() {
  if (state_->server) state_->server->cont();
}
void dovecot_server::reload() {
  if (state_->server) state_->server->signal(SIGHUP);
}

process_usage dovecot_server::usage() const { return state_->server ? state_->server->tree_usage() : process_usage{}; }

void dovecot_server::add_user(const mail_user& user) {
  const std::lock_guard lock(state_->mutex);
  state_->users[user.address] = user.password;
  state_->write_users();
}

void dovecot_server::set_password(std::string_view address, std::string_view password) {
  add_user({std::string(address), std::string(password)});
}

void dovecot_server::remove_user(std::string_view address) {
  const std::lock_guard lock(state_->mutex);
  state_->users.erase(std::string(address));
  state_->write_users();
}

unsigned dovecot_server::kick(std::string_view address) {
  if (!state_->server) return 0;
  const auto [status, output] = run({.argv = {"doveadm", "-c", state_->config.string(), "kick", std::string(address)}});
  // 68: nobody of that name was connected (EX_NOHOST).
  if (status == 68) return 0;
  if (status != 0) throw peer_error(fmt::format("doveadm kick {}: status {}: {}", address, status, output));
  return 1;
}

}  // namespace mailherd::peers
