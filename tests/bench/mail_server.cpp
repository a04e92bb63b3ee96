// tests/bench/mail_server: the Dovecot of the benchmarks, for drivers that are started by hand.
//
//   mail_server [--mailboxes 1] [--messages 20000] [--hibernate] [--dir DIR]
// Prints {"imap", "imaps", "pop3", "pop3s", "lmtp", "ca", "maildirs", "messages", "bytes"} when the mail is in place; ends with its input.
#include <unistd.h>

#include <cstdio>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "mail.hpp"
#include "tests/peers/files.hpp"

int main(int argc, char** argv) {
  using namespace mailherd;
  CLI::App app{"Dovecot with its mailboxes filled"};
  bench::mail_options options;
  std::string dir;
  app.add_option("--mailboxes", options.mailboxes);
  app.add_option("--messages", options.messages);
  app.add_flag("--hibernate", options.hibernate);
  app.add_option("--dir", dir);
  CLI11_PARSE(app, argc, argv);
  options.dir = dir;
  try {
    bench::mail mail(options);
    const auto& server = mail.server();
    fmt::print(
        "{{\"imap\":{},\"imaps\":{},\"pop3\":{},\"pop3s\":{},\"lmtp\":{},\"ca\":\"{}\",\"maildirs\":\"{}\",\"messages\":{},\"bytes\":{}}}"
        "\n",
        server.imap_port(), server.imaps_port(), server.pop3_port(), server.pop3s_port(), server.lmtp_port(), server.ca_file().string(),
        server.maildir("").string(), mail.messages(), mail.bytes());
    std::fflush(stdout);
    char byte = 0;
    while (::read(0, &byte, 1) > 0) {
    }
    return 0;
  } catch (const peers::peer_error& error) {
    std::fprintf(stderr, "mail_server: %s\n", error.what());
    return 1;
  }
}
