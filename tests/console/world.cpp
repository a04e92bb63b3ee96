// tests/console/world: what the console's tests stand on: the program, a Dovecot and an identity provider, for a test that is not C++.
//
// Says where everything is in one line of JSON, then answers commands, one a line: what they ask for, as JSON. Ends with its input.
//   deliver <address> <n> [image]   n messages (the last one with HTML that wants this image, and an attachment)
//   hostile <address>       every document of the hostile corpus as a message; subject: its number
//   revoke <account>        every grant of the account
//   approve <code> <account>   what somebody does on another device
//   sql <statement>         the first column of the first row, behind the API's back
#include <fmt/format.h>

#include <iostream>
#include <sstream>

#include "core/base64.hpp"
#include "tests/corpus/hostile_html.hpp"
#include "tests/peers/dovecot_server.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/identity_provider.hpp"
#include "tests/real_node/real_node.hpp"

namespace {

using namespace mailherd;
using ctl::json;

constexpr const char* password = "console-password-canary";
const std::vector<std::string> addresses{"support@acme.test", "sales@acme.test", "desk@acme.test", "orders@acme.test", "billing@acme.test"};

std::string message(const std::string& to, int n, bool rich, const std::string& image) {
  const auto head = fmt::format(
      "From: Ada Marsh <ada@customer.test>\r\nTo: {}\r\nSubject: Where is parcel {}?\r\nMessage-ID: <{}-{}@console.test>\r\nMIME-Version: 1.0\r\n",
      to, 1000 + n, n, to);
  if (!rich) return head + "Content-Type: text/plain; charset=utf-8\r\n\r\nHello,\r\n\r\nit should have been here on Monday.\r\n";
  return head +
         "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
         "<style>p{font:16px sans-serif}</style><h2>Your parcel</h2><p>It should have been here on <b>Monday</b>.</p>"
         "<img src=\"" +
         image +
         "\" alt=\"\"><script>parent.hacked = true; document.title = 'hacked'</script>"
         "<p><a href=\"javascript:parent.hacked=true\">click</a></p>\r\n"
         "--b\r\nContent-Type: application/pdf; name=\"invoice.pdf\"\r\nContent-Disposition: attachment; filename=\"invoice.pdf\"\r\n"
         "Content-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQ=\r\n--b--\r\n";
}

peers::idp_options provider_options(const std::string& url) {
  peers::idp_options o;
  peers::idp_client client;
  client.redirect_uris = {url + "/oauth2/callback"};
  peers::idp_client daemon;
  daemon.id = "daemon";
  daemon.secret = "daemon-secret";
  daemon.app_domain = "acme.test";
  o.clients = {client, daemon};
  return o;
}

peers::dovecot_options server_options(const std::filesystem::path& keys) {
  peers::dovecot_options o;
  o.key_dir = keys;
  for (const auto& a : addresses) o.users.push_back({a, password});
  return o;
}

json answer(const std::string& line, peers::dovecot_server& dovecot, peers::identity_provider& provider, test::real_node& node) {
  std::istringstream words(line);
  std::string command, first;
  words >> command >> first;
  if (command == "deliver") {
    static int number = 0;
    int n = 1;
    std::string image = "http://tracker.invalid/pixel.png";
    words >> n >> image;
    for (int i = 1; i <= n; ++i) dovecot.deliver(first, "INBOX", message(first, ++number, i == n, image));
    return {{"count", dovecot.count(first)}};
  }
  if (command == "hostile") {
    int n = 0;
    for (const auto html : corpus::hostile_html) {
      dovecot.deliver(first, "INBOX",
                      fmt::format("From: Eve <eve@evil.test>\r\nSubject: {}\r\nMessage-ID: <hostile-{}@console.test>\r\nMIME-Version: 1.0\r\n"
                                  "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
                                  n, n, base64_encode(html)));
      ++n;
    }
    return {{"count", n}};
  }
  if (command == "revoke") {
    provider.revoke(first);
    return json::object();
  }
  if (command == "approve") {
    std::string account;
    words >> account;
    provider.approve_device(first, account);
    return json::object();
  }
  if (command == "sql") return {{"value", node.query(line.substr(4)).value_or("")}};
  return {{"error", "unknown command"}};
}

}  // namespace

int main() {
  try {
    const auto port = peers::free_port();
    const auto url = fmt::format("http://127.0.0.1:{}", port);
    peers::identity_provider provider(provider_options(url));
    peers::dovecot_server dovecot(server_options(provider.key_dir()));
    test::real_node node({{"MAILHERD_LISTEN", fmt::format("127.0.0.1:{}", port)},
                          {"MAILHERD_PUBLIC_URL", url},
                          {"MAILHERD_CA_FILE", dovecot.ca_file().string()},
                          {"MAILHERD_POLL_INTERVAL", "2s"}});
    node.start();
    auto token = peers::read_file(node.data() / "admin-token");
    token.erase(token.find_last_not_of("\r\n ") + 1);
    const json where{{"url", url},
                     {"token", token},
                     {"password", password},
                     {"addresses", addresses},
                     {"host", "localhost"},
                     {"imaps", dovecot.imaps_port()},
                     {"pop3s", dovecot.pop3s_port()},
                     {"issuer", provider.issuer()},
                     {"authorize_url", provider.authorize_url()},
                     {"token_url", provider.token_url()},
                     {"device_url", provider.device_url()},
                     {"authority", provider.authority("organizations")},
                     {"client_id", "mailherd"},
                     {"client_secret", "mailherd-secret"},
                     {"log", node.log_file().string()}};
    std::cout << where.dump() << std::endl;
    for (std::string line; std::getline(std::cin, line);) std::cout << answer(line, dovecot, provider, node).dump() << std::endl;
    return 0;
  } catch (const std::exception& e) {
    std::cerr << "console world: " << e.what() << '\n';
    return 1;
  }
}
