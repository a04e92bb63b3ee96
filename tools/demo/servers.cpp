// tools/demo/servers: see the header.
#include "tools/demo/servers.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <array>

namespace mailherd::demo {

namespace {

constexpr std::array people{"Ada Marsh <ada@customer.test>", "B. Okafor <okafor@customer.test>",
                            "=?utf-8?q?J=C3=BCrgen_Roth?= <roth@kunde.test>", "Chen Wei <wei@supplier.test>",
                            "Dana Li <dana@customer.test>"};
constexpr std::array subjects{"Order {0}: two chairs and a lamp",
                              "Re: invoice {0}",
                              "Where is parcel {0}?",
                              "Meeting at {1} o'clock",
                              "=?utf-8?q?Angebot_Nr=2E_{0}_f=C3=BCr_M=C3=B6bel?=",
                              "Cannot sign in since this morning ({0})",
                              "Thank you for {0}!"};

peers::idp_options provider_options(const std::filesystem::path& directory) {
  peers::idp_options o;
  o.root = directory / "idp";
  // Short, so that renewals can be seen; long enough to be renewed five minutes ahead, as everywhere.
  o.access_token_ttl = std::chrono::minutes(7);
  // Without TLS: people open its pages, and their browsers do not know this authority.
  peers::idp_client people_s, own;
  people_s.id = servers::client;
  own.id = servers::application;
  people_s.secret = own.secret = servers::client_secret;
  own.app_domain = "initech.test";
  o.clients = {people_s, own};
  return o;
}

peers::dovecot_options dovecot_options(const std::filesystem::path& directory, const std::filesystem::path& keys, peers::test_ca& ca) {
  peers::dovecot_options o;
  o.root = directory / "dovecot";
  o.key_dir = keys;
  o.tls = ca.issue();
  for (const auto& m : servers::mailboxes()) o.users.push_back({m.address, servers::password_of(m)});
  return o;
}

std::filesystem::path made(std::filesystem::path directory) {
  std::filesystem::create_directories(directory);
  return directory;
}

}  // namespace

const std::vector<mailbox>& servers::mailboxes() {
  static const std::vector<mailbox> all{
      {"Acme", "support@acme.test", "imap", "implicit", sign_in::password},
      {"Acme", "sales@acme.test", "imap", "implicit", sign_in::grant},
      {"Acme", "billing@acme.test", "imap", "implicit", sign_in::consent},
      {"Globex", "info@globex.test", "pop3", "implicit", sign_in::password},
      {"Globex", "orders@globex.test", "pop3", "starttls", sign_in::grant},
      {"Initech", "desk@initech.test", "imap", "starttls", sign_in::password},
      {"Initech", "help@initech.test", "imap", "implicit", sign_in::application},
  };
  return all;
}

servers::servers(const std::filesystem::path& directory, std::size_t backlog)
    : ca_(made(directory / "ca")),
      provider_(provider_options(directory)),
      dovecot_(dovecot_options(directory, provider_.key_dir(), ca_)) {
  for (const auto& m : mailboxes()) dovecot_.deliver_many(m.address, "INBOX", backlog, [&](std::size_t) { return message(m); });
}

std::string servers::message(const mailbox& to) {
  const auto number = ++sent_;
  const auto subject = fmt::format(fmt::runtime(subjects[number % subjects.size()]), 1'000 + number, 8 + number % 10);
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  return fmt::format(
      "From: {}\r\nTo: {}\r\nSubject: {}\r\nDate: {:%a, %d %b %Y %H:%M:%S} +0000\r\nMessage-ID: <{}@demo.test>\r\nMIME-Version: 1.0\r\n"
      "Content-Type: text/plain; charset=utf-8\r\n\r\nHello,\r\n\r\nthis is message {} of the demo.\r\n",
      people[number % people.size()], to.address, subject, fmt::gmtime(now), number, number);
}

std::uint16_t servers::port_of(const mailbox& m) const {
  const bool implicit = m.tls == "implicit";
  if (m.protocol == "pop3") return implicit ? dovecot_.pop3s_port() : dovecot_.pop3_port();
  return implicit ? dovecot_.imaps_port() : dovecot_.imap_port();
}

void servers::register_return(const std::string& redirect_uri) {
  peers::idp_client people_s;
  people_s.id = client;
  people_s.secret = client_secret;
  people_s.redirect_uris = {redirect_uri};
  provider_.add_client(people_s);
}

std::string servers::password_of(const mailbox& m) { return "demo-password-of-" + m.address; }

}  // namespace mailherd::demo
