// tests/peers/dovecot_server: life and accounts; mail is in dovecot_mail.cpp.
#include "tests/peers/dovecot_server.hpp"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "tests/peers/dovecot_state.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/tls_client.hpp"

namespace mailherd::peers {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr seconds start_timeout{20};
constexpr seconds stop_limit{10};
constexpr int start_tries = 4;

/// True if a server on this port says its first words.
bool greets(const std::string& address, std::uint16_t port, std::string_view words) {
  try {
    tls_client client({.address = address, .port = port, .tls = client_tls::none, .timeout = seconds(5)});
    return client.read_line().compare(0, words.size(), words) == 0;
  } catch (const peer_error&) {
    return false;
  }
}

dovecot_places make_places(const fs::path& root, const fs::path& run_dir, bool plaintext_login) {
  dovecot_places places;
  places.root = root;
  places.run_dir = run_dir;
  places.mail_dir = root / "mail";
  places.password_dir = root / "passwords" / "passdb";
  places.log_file = root / "dovecot.log";
  places.address = plaintext_login ? "127.0.0.1" : "127.0.0.2";
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

void dovecot_server::state::write_user(const mail_user& user) const {
  std::string quoted;
  for (const char c : user.password) quoted += (c == '"' || c == '\\') ? std::string{'\\', c} : std::string{c};
  write_file(places.password_dir / user.address, fmt::format("{{\"password\":\"{}\"}}", quoted));
}

void dovecot_server::state::launch() {
  server.emplace(process_options{.argv = {"dovecot", "-F", "-c", config.string()},
                                 .log_file = places.root / "stdout.log",
                                 .death_signal = SIGTERM});  // told to stop, the master takes its children with it
  // A port that accepts is not enough: behind it a login process may still wait for its configuration, and a master that is told to stop
  // at that moment waits 6 s for it.
  std::vector<std::pair<std::string, std::uint16_t>> waiting{{"* OK", places.imap}, {"+OK", places.pop3}, {"220 ", places.lmtp}};
  const auto log_before = fs::exists(places.log_file) ? fs::file_size(places.log_file) : 0;
  const auto ready = [&] {
    // A process that cannot read its configuration is started again and again.
    const std::string log = fs::exists(places.log_file) ? read_file(places.log_file).substr(log_before) : "";
    if (log.find(": Fatal: ") != std::string::npos) throw peer_error("Dovecot: " + log);
    while (!waiting.empty() && greets(places.address, waiting.back().second, waiting.back().first)) waiting.pop_back();
    return waiting.empty();  // the TLS ports were opened at the same moment, and have the same processes behind them
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
        places.lmtp = free_port();
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
  s.places = make_places(root_usable ? fs::absolute(s.options.root) : s.own_dir.path(), s.own_dir / "run", s.options.plaintext_login);
  if (s.places.as_root) {
    const passwd* nobody = ::getpwnam("nobody");
    if (nobody == nullptr) throw peer_error("no user nobody, who would own the mail");
    s.mail_uid = nobody->pw_uid;
    s.mail_gid = nobody->pw_gid;
  }
  fs::create_directories(s.places.run_dir);
  fs::create_directories(s.places.root / "state");
  fs::create_directories(s.places.mail_dir);
  s.own(s.places.mail_dir);
  if (s.options.tls.certificate_file.empty()) {
    s.ca.emplace(s.places.root);
    s.tls = s.ca->issue();
  } else {
    s.tls = s.options.tls;
  }
  fs::create_directories(s.places.password_dir);
  for (const auto& user : s.options.users) s.write_user(user);
  s.begin(true);
}

dovecot_server::~dovecot_server() { stop(); }

bool dovecot_server::installed() { return find_program("dovecot").has_value() && find_program("doveadm").has_value(); }

bool dovecot_server::allow_idle_sessions(unsigned sessions) {
  const char* const limit = "/proc/sys/fs/inotify/max_user_instances";
  const auto enough = [&] { return std::stoul(read_file(limit)) >= sessions + 100UL; };  // others use some too
  if (enough()) return true;
  if (std::ofstream file(limit); file) file << sessions + 1000;  // in place: /proc knows no renaming
  return enough();
}

const std::string& dovecot_server::address() const noexcept { return state_->places.address; }
std::uint16_t dovecot_server::imap_port() const noexcept { return state_->places.imap; }
std::uint16_t dovecot_server::imaps_port() const noexcept { return state_->places.imaps; }
std::uint16_t dovecot_server::pop3_port() const noexcept { return state_->places.pop3; }
std::uint16_t dovecot_server::pop3s_port() const noexcept { return state_->places.pop3s; }
std::uint16_t dovecot_server::lmtp_port() const noexcept { return state_->places.lmtp; }
fs::path dovecot_server::ca_file() const { return state_->ca ? state_->ca->ca_file() : fs::path(); }
fs::path dovecot_server::log_file() const { return state_->places.log_file; }
fs::path dovecot_server::root() const { return state_->places.root; }

void dovecot_server::state::end() {
  server->kill();
  server.reset();
  // Its pid file would make the next master believe that one still runs.
  std::error_code ignored;
  fs::remove(places.run_dir / "master.pid", ignored);
}

void dovecot_server::stop() {
  if (!state_->server) return;
  // Told by the master alone, a session that was used a moment ago stays for 10 s; told itself, it says BYE. The master waits a whole
  // second more for its log process after everybody else has gone. (Telling everybody would be wrong: the master starts its log again.)
  const std::set<std::string> with_clients{"imap", "pop3", "imap-hibernate", "imap-login", "pop3-login", "lmtp"};
  state_->server->signal(SIGTERM);
  for (const auto& [name, id] : state_->server->members()) {
    if (with_clients.count(name) != 0) ::kill(id, SIGTERM);
  }
  const auto waits_for_log = [this] {
    for (const auto& [name, id] : state_->server->members()) {
      if (name != "dovecot" && name != "log") return false;
    }
    return true;
  };
  wait_until(waits_for_log, stop_limit);
  state_->end();
}

void dovecot_server::kill() {
  if (state_->server) state_->end();
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

unsigned dovecot_server::session_processes() const {
  unsigned count = 0;
  if (!state_->server) return count;
  for (const auto& [name, id] : state_->server->members()) count += name == "imap" || name == "pop3" ? 1 : 0;
  return count;
}

void dovecot_server::add_user(const mail_user& user) { state_->write_user(user); }

void dovecot_server::set_password(std::string_view address, std::string_view password) {
  state_->write_user({std::string(address), std::string(password)});
}

void dovecot_server::remove_user(std::string_view address) { fs::remove(state_->places.password_dir / std::string(address)); }

unsigned dovecot_server::kick(std::string_view address) {
  if (!state_->server) return 0;
  const auto [status, output] = run({.argv = {"doveadm", "-c", state_->config.string(), "kick", std::string(address)}});
  // 68: nobody of that name was connected (EX_NOHOST).
  if (status == 68) return 0;
  if (status != 0) throw peer_error(fmt::format("doveadm kick {}: status {}: {}", address, status, output));
  return 1;
}

}  // namespace mailherd::peers
