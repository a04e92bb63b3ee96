// tests/bench/mail: implementation.
#include "mail.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "tests/corpus/corpus.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/tls_client.hpp"

namespace mailherd::bench {

mail::mail(const mail_options& options) : options_(options) {
  peers::dovecot_options server;
  server.root = options.dir;
  for (std::size_t i = 0; i < options.mailboxes; ++i) server.users.push_back({user(i), password});
  const auto sessions = static_cast<unsigned>(options.mailboxes * options.sessions_per_mailbox);
  server.max_sessions = std::clamp(sessions, 200U, 20'000U);
  server.max_userip_connections = 1000;
  server.hibernate = options.hibernate;
  server.hibernate_after = std::chrono::seconds(2);
  if (options.hibernate && !peers::dovecot_server::allow_idle_sessions(static_cast<unsigned>(options.mailboxes)))
    throw peers::peer_error("fs.inotify.max_user_instances is too low for so many idle sessions and cannot be raised");
  server_ = std::make_unique<peers::dovecot_server>(server);
  fill();
  warm();
}

void mail::fill() {
  for (std::size_t box = 0; box < options_.mailboxes; ++box) {
    server_->create_folder(user(box), "INBOX");
    server_->deliver_many(user(box), "INBOX", options_.messages, [&](std::size_t i) {
      std::string raw = corpus::message(options_.seed, box * options_.messages + i);
      bytes_ += raw.size();
      return raw;
    });
  }
}

void mail::warm() {
  if (options_.messages == 0) return;
  for (std::size_t box = 0; box < options_.mailboxes; ++box) {
    peers::tls_client client({.address = server_->address(), .port = server_->imap_port(), .tls = peers::client_tls::none,
                              .timeout = std::chrono::minutes(2)});
    client.read_line();
    client.imap("a", fmt::format("LOGIN {} {}", user(box), password));
    const std::string selected = client.imap("b", "SELECT INBOX");
    if (selected.find(fmt::format("* {} EXISTS", options_.messages)) == std::string::npos)
      throw peers::peer_error(fmt::format("{} was not filled: {}", user(box), selected));
    client.imap("c", "FETCH 1:* (UID RFC822.SIZE INTERNALDATE)");
    client.imap("d", "LOGOUT");
  }
}

bool mail::wait_hibernated(std::chrono::seconds timeout) {
  return peers::wait_until([this] { return server_->session_processes() == 0; }, timeout);
}

std::string mail::user(std::size_t mailbox) { return fmt::format("user{}@acme.test", mailbox); }

}  // namespace mailherd::bench
