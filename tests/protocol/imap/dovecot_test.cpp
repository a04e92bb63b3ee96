// tests/protocol/imap: the engine against a real Dovecot, over a plain socket: every login, names, a mailbox byte for byte, COMPRESS, IDLE.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <openssl/evp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <map>

#include "tests/peers/dovecot_server.hpp"
#include "tests/protocol/imap/script.hpp"

namespace mailherd::imap {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string user = "anna@demo.test", password = "pass \"wörd\"";

std::string sha256(const std::string& bytes) {
  std::array<unsigned char, 32> digest{};
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  std::string hex;
  for (const auto b : digest) hex += fmt::format("{:02x}", b);
  return hex;
}

/// A blocking pump.
class session {
 public:
  explicit session(const peers::dovecot_server& server) : engine(engine_options{.encrypted = false, .allow_unencrypted = true}) {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(server.imap_port());
    inet_pton(AF_INET, server.address().c_str(), &to.sin_addr);
    EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    until([&] { return seen("greeted"); });
  }
  ~session() { close(fd_); }
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  /// Runs until `done`; false if the session ends or nothing comes for 20 s.
  bool until(const std::function<bool()>& done) {
    while (true) {
      const auto out = engine.take_output();
      for (std::string_view rest = out; !rest.empty();) {
        const auto n = send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
        if (n <= 0) return false;
        rest.remove_prefix(static_cast<std::size_t>(n));
      }
      if (done()) return true;
      pollfd wait{fd_, POLLIN, 0};
      if (poll(&wait, 1, 20'000) <= 0) return false;
      const auto n = recv(fd_, buffer_.data(), buffer_.size(), 0);
      if (n <= 0) return false;
      received += static_cast<std::size_t>(n);
      engine.receive({buffer_.data(), static_cast<std::size_t>(n)}, test_now);
      while (const auto e = engine.next_event()) {
        if (const auto* r = std::get_if<event::refused>(&*e)) reason = r->reason;
        if (const auto* b = std::get_if<event::fetched>(&*e); b && b->has_body) uids.push_back(b->uid.value);
        if (const auto* f = std::get_if<event::found>(&*e)) found = *f->uids;
        events.add(*e);
      }
    }
  }
  [[nodiscard]] bool seen(const std::string& line) const {
    return std::find(events.lines().begin(), events.lines().end(), line) != events.lines().end();
  }
  /// Until the command is answered.
  bool run(const result<command_id>& id) {
    if (!id) return false;
    return until([&] {
             return engine.failed() || std::any_of(events.lines().begin(), events.lines().end(), [&](const std::string& line) {
                      return line.rfind(fmt::format("done {} ", *id), 0) == 0 || line.rfind(fmt::format("refused {} ", *id), 0) == 0 ||
                             line.rfind(fmt::format("capabilities {}", *id), 0) == 0 ||
                             line.rfind(fmt::format("logged_in {} ", *id), 0) == 0 || line.rfind(fmt::format("selected {} ", *id), 0) == 0;
                    });
           }) &&
           !engine.failed();
  }
  bool sign_in() {
    return (engine.capabilities().known() || run(engine.capability())) && run(engine.login(password_of(user, password))) &&
           engine.authenticated();
  }

  imap::engine engine;
  imap::log events;
  error reason;
  uid_set found;
  std::vector<std::uint32_t> uids;
  std::size_t received = 0;

 private:
  int fd_ = -1;
  std::vector<char> buffer_ = std::vector<char>(16'384);
};

class dovecot : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    peers::dovecot_options o;
    o.users = {{user, password}};
    o.mechanisms = "plain login scram-sha-256";
    o.extra = "mail_plugins = zlib\nprotocol imap {\n  mail_plugins = zlib imap_zlib\n}\n";
    server = std::make_unique<peers::dovecot_server>(std::move(o));
    server->deliver_many(user, "INBOX", 60, [](std::size_t i) {
      std::string m = fmt::format("From: a@x.test\r\nSubject: {}\r\n\r\n", i);
      for (std::size_t line = 0; line < i * i * (i == 59 ? 20 : 1); ++line) m += fmt::format("line {} of {} )\r\n", line, i);
      return m;
    });
    server->create_folder(user, "Entw&APw-rfe");
  }
  static void TearDownTestSuite() { server.reset(); }
  static std::unique_ptr<peers::dovecot_server> server;
};
std::unique_ptr<peers::dovecot_server> dovecot::server;

TEST_F(dovecot, every_way_to_sign_in) {
  for (const std::string mechanism : {"PLAIN", "LOGIN", "SCRAM-SHA-256", ""}) {
    session s(*server);
    // What the server offers, as if it were nothing but this.
    const auto offer = fmt::format("* CAPABILITY IMAP4rev1 SASL-IR {}\r\n", mechanism.empty() ? "" : "AUTH=" + mechanism);
    s.engine.receive(offer, test_now);
    while (s.engine.next_event()) {
    }
    const auto id = s.engine.login(password_of(user, password));
    ASSERT_TRUE(id) << describe(id.error());
    ASSERT_TRUE(s.run(id)) << mechanism << ": " << describe(s.engine.ended(test_now));
    EXPECT_THAT(s.events.lines(), Contains(fmt::format("logged_in 1 {}", mechanism.empty() ? "LOGIN" : mechanism))) << s.reason.detail;
    EXPECT_TRUE(s.engine.capabilities().has(capability::idle)) << "the new list came with the answer";
  }
  session wrong(*server);
  ASSERT_TRUE(wrong.run(wrong.engine.login(password_of(user, "wrong"))));
  EXPECT_EQ(wrong.reason.code, failure::login_rejected) << wrong.reason.detail;
}

TEST_F(dovecot, folders_by_their_names) {
  session s(*server);
  ASSERT_TRUE(s.sign_in());
  ASSERT_TRUE(s.run(s.engine.identify("Mailherd", "test")));
  ASSERT_TRUE(s.run(s.engine.list("*")));
  EXPECT_THAT(s.events.lines(), Contains(HasSubstr(" Entwürfe (")));
  ASSERT_TRUE(s.run(s.engine.status("Entwürfe")));
  EXPECT_THAT(s.events.lines(), Contains(HasSubstr("messages=0")));
  const auto id = s.engine.select("Entwürfe", true);
  ASSERT_TRUE(s.run(id));
  EXPECT_THAT(s.events.lines(), Contains(testing::AllOf(HasSubstr(fmt::format("selected {} exists=0", *id)), HasSubstr("read-only"))));
  ASSERT_TRUE(s.run(s.engine.select("\xFF none", false))) << "a literal";
  EXPECT_EQ(s.reason.code, failure::mailbox_missing) << s.reason.detail;
  ASSERT_TRUE(s.run(s.engine.select("Keiner", false)));
  EXPECT_EQ(s.reason.code, failure::mailbox_missing) << s.reason.detail;
  EXPECT_TRUE(s.engine.quirks().empty());
}

/// Every message by pipelined fetches; returns how many bytes crossed the wire.
void fetch_everything(peers::dovecot_server& server, bool compressed, std::size_t& wire) {
  session s(server);
  ASSERT_TRUE(s.sign_in());
  ASSERT_TRUE(s.run(s.engine.select("INBOX", true)));
  if (compressed) {
    ASSERT_TRUE(s.run(s.engine.compress())) << s.reason.detail;
    ASSERT_TRUE(s.engine.compressed());
  }
  ASSERT_TRUE(s.run(s.engine.search_since(test_now - std::chrono::hours(24 * 365 * 50))));
  const auto before = s.received;
  result<command_id> last = command_id{0};
  for (const auto& range : s.found.ranges())
    for (auto u = range.first; u <= range.last; u += 7) {
      const auto upto = std::min(u + 6, range.last);
      last = s.engine.fetch(uid_set::span({u}, {upto}), fetch_what::body);
    }
  ASSERT_TRUE(s.run(last));
  wire = s.received - before;
  const auto kept = server.messages(user);
  std::map<std::uint32_t, std::string> expected, got;
  for (const auto& m : kept) expected[m.uid] = m.sha256;
  ASSERT_EQ(s.events.bodies().size(), s.uids.size());
  for (std::size_t i = 0; i < s.uids.size(); ++i) got[s.uids[i]] = sha256(s.events.bodies()[i]);
  EXPECT_EQ(expected.size(), 60u);
  EXPECT_EQ(got, expected);
  EXPECT_TRUE(s.run(s.engine.logout()));
}

TEST_F(dovecot, a_mailbox_byte_for_byte_plain_and_compressed) {
  std::size_t plain = 0, packed = 0;
  fetch_everything(*server, false, plain);
  fetch_everything(*server, true, packed);
  EXPECT_GT(plain, 1'000'000u);
  EXPECT_LT(packed, plain / 2) << "or nothing was compressed";
}

TEST_F(dovecot, idle_marks_and_expunges) {
  session s(*server);
  ASSERT_TRUE(s.sign_in());
  ASSERT_TRUE(s.run(s.engine.select("Entwürfe", false)));
  const auto idle = s.engine.idle();
  ASSERT_TRUE(idle);
  ASSERT_TRUE(s.until([&] { return s.seen(fmt::format("idling {}", *idle)); }));
  server->deliver(user, "Entw&APw-rfe", "Subject: new\r\n\r\nhello\r\n");
  ASSERT_TRUE(s.until([&] { return s.seen("exists 1"); }));
  const auto listing = s.engine.fetch(uid_set::span({1}, {}), fetch_what::sizes);  // ends the IDLE
  ASSERT_TRUE(s.run(listing));
  EXPECT_THAT(s.events.lines(), Contains(fmt::format("done {} IDLE", *idle)));
  EXPECT_THAT(s.events.lines(), Contains(testing::StartsWith("fetched 1 uid=1 size=23 date=")));
  ASSERT_TRUE(s.run(s.engine.store(uids({1}), flag::deleted)));
  ASSERT_TRUE(s.run(s.engine.expunge(uids({1}))));
  EXPECT_THAT(s.events.lines(), Contains("expunged 1"));
  EXPECT_EQ(server->count(user, "Entw&APw-rfe"), 0u);
  EXPECT_TRUE(s.run(s.engine.logout()));
}

}  // namespace
}  // namespace mailherd::imap
