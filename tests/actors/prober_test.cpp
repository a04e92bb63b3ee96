// Connection tests: each step in words, within one deadline, and never at the cost of the channel that serves.
#include "actors/prober.hpp"

#include <algorithm>
#include <array>

#include "actors/session/session.hpp"
#include "tests/actors/fetching.hpp"

namespace mailherd::actors {
namespace {

class probe : public test::fetching {
 public:
  probe() {
    it = owned(system.spawn(prober, static_cast<const environment*>(&env), session_opener(open_session),
                            token_asker([this](tenant_id, channel_id, std::shared_ptr<token_request> r) { asked.push_back(std::move(r)); })));
    settle();
  }
  test_subject subject() {
    test_subject s;
    s.tenant = test::the_tenant;
    s.incoming = spec().incoming;
    s.auth = row().load.credential;
    return s;
  }
  void test(test_subject s, duration patience = seconds(30)) {
    auto r = std::make_shared<probe_request>();
    r->subject = std::move(s);
    r->until = deadline::after(now(), patience);
    r->on_done = [this](result<test_report> report) { reports.push_back(std::move(report)); };
    caf::anon_send(it, test_atom::value, std::move(r));
    settle();
  }
  [[nodiscard]] std::string steps_of(const test_report& r) {
    std::string all;
    for (const auto& s : r.steps) all += (all.empty() ? "" : " ") + s.step + (s.ok ? "" : "!");
    return all;
  }
  [[nodiscard]] const test_report& last() { return *reports.back(); }

  prober_actor it;
  std::vector<result<test_report>> reports;
  std::vector<std::shared_ptr<token_request>> asked;
};

TEST_F(probe, tells_each_step_and_counts) {
  fill(7);
  test(subject());
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_TRUE(last().ok);
  EXPECT_EQ(steps_of(last()), "dns tcp tls greeting authentication mailbox count");
  EXPECT_EQ(last().messages, 7);
  EXPECT_EQ(last().account, "joe");
  EXPECT_EQ(imap.count("EXAMINE"), 1U) << "read only";
  advance(seconds(1));
  EXPECT_EQ(imap.count("LOGOUT"), 1U);
  EXPECT_EQ(net.connections(), 0U);
}

TEST_F(probe, says_what_a_wrong_password_is_and_what_to_do) {
  auto s = subject();
  s.auth.password = secret<>("canary");
  test(s);
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_FALSE(last().ok);
  EXPECT_EQ(steps_of(last()), "dns tcp tls greeting authentication!");
  EXPECT_EQ(last().steps.back().reason, failure::login_rejected);
  EXPECT_NE(last().steps.back().advice, "");
  for (const auto& step : last().steps) EXPECT_EQ(step.detail.find("canary"), std::string::npos);
  EXPECT_EQ(net.connections(), 0U);
}

TEST_F(probe, says_where_nobody_listens) {
  auto s = subject();
  s.incoming.port = 1;
  test(s);
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_EQ(last().steps.back().reason, failure::connect_refused);
  EXPECT_FALSE(last().ok);
}

TEST_F(probe, goes_through_select_since_a_login_proves_nothing) {
  imap.on_command = [](auto&, const auto& c) -> std::optional<std::string> {
    return c.name == "EXAMINE" ? std::optional(c.tag + " NO User is authenticated but not connected.\r\n") : std::nullopt;
  };
  test(subject());
  EXPECT_EQ(steps_of(last()), "dns tcp tls greeting authentication mailbox!");
  EXPECT_EQ(last().steps.back().reason, failure::no_mailbox_rights);
}

TEST_F(probe, names_the_step_at_which_its_time_ran_out) {
  imap.on_command = [](auto&, const auto& c) -> std::optional<std::string> { return c.name == "AUTHENTICATE" ? std::optional("") : std::nullopt; };
  test(subject(), seconds(10));
  advance(seconds(9));
  EXPECT_TRUE(reports.empty());
  advance(seconds(2));
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_EQ(steps_of(last()), "dns tcp tls greeting authentication!");
  EXPECT_EQ(last().steps.back().reason, failure::timed_out);
  EXPECT_EQ(net.connections(), 0U) << "withdrawn";
}

TEST_F(probe, tests_pop3_too) {
  auto s = subject();
  s.incoming.protocol = protocol_kind::pop3;
  s.incoming.port = 995;
  pop3.add(mail_of("a", 1));
  test(s);
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_TRUE(last().ok) << steps_of(last());
  EXPECT_EQ(last().messages, 1);
  EXPECT_FALSE(last().unseen);
}

TEST_F(probe, begins_tls_on_an_open_connection) {
  net.listen("mail.test:143", imap.maker());
  net.listen("mail.test:110", pop3.maker());
  imap.capabilities += " STARTTLS";
  pop3.capabilities.push_back("STLS");
  auto s = subject();
  s.incoming.tls = tls_mode::starttls;
  s.incoming.port = 143;
  test(s);
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_TRUE(last().ok) << steps_of(last()) << last().steps.back().detail;
  EXPECT_EQ(steps_of(last()), "dns tcp greeting tls authentication mailbox count");
  s.incoming.protocol = protocol_kind::pop3;
  s.incoming.port = 110;
  test(s);
  ASSERT_EQ(reports.size(), 2U);
  EXPECT_TRUE(last().ok) << steps_of(last()) << last().steps.back().detail;
  EXPECT_EQ(pop3.logins.size(), 1U);
}

TEST_F(probe, sends_no_password_where_tls_cannot_begin) {
  net.listen("mail.test:143", imap.maker());
  auto s = subject();
  s.incoming.tls = tls_mode::starttls;
  s.incoming.port = 143;
  test(s);
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_EQ(last().steps.back().reason, failure::tls_not_offered);
  EXPECT_EQ(imap.count("AUTHENTICATE"), 0U);
}

TEST_F(probe, goes_without_encryption_only_where_the_operator_allows_it) {
  net.listen("mail.test:143", imap.maker());
  auto s = subject();
  s.incoming.tls = tls_mode::none;
  s.incoming.port = 143;
  test(s);
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_FALSE(last().ok);
  EXPECT_EQ(imap.count("AUTHENTICATE"), 0U);
  EXPECT_EQ(imap.count("LOGIN"), 0U);
  env.options.allow_plaintext = true;
  test(s);
  ASSERT_EQ(reports.size(), 2U);
  EXPECT_TRUE(last().ok) << steps_of(last()) << last().steps.back().detail;
}

TEST_F(probe, asks_the_channels_own_refresher_for_its_token) {
  use_oauth2();
  imap.tokens.insert("t9");
  auto s = subject();
  s.channel = test::the_channel;
  s.generation = 1;
  test(s);
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(http.sent, 0U) << "a rotating grant is the refresher's alone";
  asked[0]->then(access_token{secret<>("t9"), 1, wall() + seconds(3000), "joe@acme.test"});
  settle();
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_TRUE(last().ok);
  EXPECT_EQ(steps_of(last()), "dns tcp tls token greeting authentication mailbox count");
  EXPECT_EQ(last().account, "joe@acme.test");
}

TEST_F(probe, does_not_spend_a_grant_that_is_not_served_here) {
  use_oauth2();
  auto s = subject();
  s.channel = test::the_channel;
  test(s);
  asked[0]->then(fail(failure::not_found));
  settle();
  EXPECT_EQ(steps_of(last()), "token!");
  EXPECT_EQ(http.sent, 0U);
}

TEST_F(probe, fetches_an_applications_own_token_anywhere) {
  use_oauth2();
  auto s = subject();
  s.auth.grant = grant_kind::client_credentials;
  s.auth.refresh_token = {};
  s.auth.mailbox = "shared@acme.test";
  s.app = app();
  test(s);
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_TRUE(last().ok) << steps_of(last());
  EXPECT_EQ(http.sent, 1U);
}

TEST_F(probe, runs_no_more_at_once_than_allowed) {
  imap.on_command = [](auto&, const auto& c) -> std::optional<std::string> { return c.name == "AUTHENTICATE" ? std::optional("") : std::nullopt; };
  for (std::size_t i = 0; i < connection_tests_at_once; ++i) test(subject());
  EXPECT_TRUE(reports.empty());
  test(subject());
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_EQ(reports[0].error().code, failure::store_busy);
  advance(seconds(31));
  EXPECT_EQ(reports.size(), connection_tests_at_once + 1);
  imap.on_command = {};
  test(subject());
  EXPECT_TRUE(last().ok);
}

TEST_F(probe, answers_everybody_when_the_node_stops) {
  imap.on_command = [](auto&, const auto& c) -> std::optional<std::string> { return c.name == "AUTHENTICATE" ? std::optional("") : std::nullopt; };
  test(subject());
  test(subject());
  caf::anon_send(it, stop_atom::value);
  settle();
  ASSERT_EQ(reports.size(), 2U);
  for (const auto& r : reports) EXPECT_EQ(r.error().code, failure::cancelled);
  EXPECT_TRUE(ended(it));
  EXPECT_EQ(net.connections(), 0U);
}

/// What a person may meet, where it shows, what it is called, and a word of what he reads.
TEST_F(probe, has_a_cause_and_a_next_step_for_whatever_goes_wrong) {
  struct row {
    const char *command, *answer;   ///< of the mail server
    failure reason;
    const char* word;
  };
  const std::array rows{
      row{"AUTHENTICATE", "NO [AUTHENTICATIONFAILED] Invalid credentials", failure::login_rejected, "password"},
      row{"AUTHENTICATE", "NO Basic Authentication is disabled.", failure::login_disabled, "OAuth2"},
      row{"AUTHENTICATE", "NO [WEBALERT https://x] Please log in via your web browser", failure::login_disabled, "OAuth2"},
      row{"AUTHENTICATE", "NO Your account is not enabled for IMAP use.", failure::no_mailbox_rights, "enable IMAP"},
      row{"AUTHENTICATE", "NO Request is throttled. Suggested Backoff Time: 299910 milliseconds", failure::throttled, "wait until"},
      row{"AUTHENTICATE", "NO Account is locked", failure::account_blocked, "Unlock"},
      row{"EXAMINE", "NO User is authenticated but not connected.", failure::no_mailbox_rights, "right account consented"},
      row{"EXAMINE", "NO [NONEXISTENT] Unknown Mailbox", failure::mailbox_missing, "folder"},
      row{"EXAMINE", "NO [LIMIT] Maximum number of connections from user+IP exceeded", failure::too_many_connections, "Close other"},
      row{"EXAMINE", "NO [UNAVAILABLE] not now", failure::server_unavailable, "by itself"},
  };
  for (const auto& r : rows) {
    imap.on_command = [&](auto&, const auto& c) -> std::optional<std::string> {
      return c.name == r.command ? std::optional(c.tag + " " + r.answer + "\r\n") : std::nullopt;
    };
    test(subject());
    const auto& step = last().steps.back();
    EXPECT_EQ(step.reason, r.reason) << r.answer;
    EXPECT_NE((step.detail + " " + step.advice).find(r.word), std::string::npos) << r.answer << ": " << step.detail << " / " << step.advice;
  }
  imap.on_command = {};
  for (const auto& [reason, word] : {std::pair{failure::dns_failed, "host name"}, {failure::connect_refused, "port"}, {failure::certificate_expired, "renew"},
                                     {failure::certificate_untrusted, "trust"}, {failure::certificate_name, "host name"}, {failure::target_refused, "operator"}}) {
    net.refuse = [reason = reason](const net::target&) { return std::optional(error{reason, "by order of the test", {}}); };
    test(subject());
    EXPECT_EQ(last().steps.back().reason, reason);
    EXPECT_NE(last().steps.back().advice.find(word), std::string::npos) << last().steps.back().advice;
  }
  net.refuse = {};
}

TEST_F(probe, shows_what_a_token_is_for_and_what_is_wrong_with_a_grant) {
  use_oauth2();
  auto s = subject();
  s.channel = test::the_channel;
  s.generation = 1;
  imap.tokens.insert("t9");
  test(s);
  asked.back()->then(access_token{secret<>("t9"), 1, wall() + seconds(3000), "joe@acme.test", {"https://mail.test/IMAP"}});
  settle();
  const auto token = std::find_if(last().steps.begin(), last().steps.end(), [](const auto& step) { return step.step == "token"; });
  ASSERT_NE(token, last().steps.end());
  for (const auto* part : {"joe@acme.test", "50 more minutes", "https://mail.test/IMAP"}) EXPECT_NE(token->detail.find(part), std::string::npos) << token->detail;
  for (const auto& [reason, word] : {std::pair{failure::consent_required, "Connect"}, {failure::admin_required, "administrator"}, {failure::app_misconfigured, "operator"},
                                     {failure::token_unavailable, "by itself"}}) {
    test(s);
    asked.back()->then(fail(reason, "by order of the test"));
    settle();
    EXPECT_EQ(steps_of(last()), "token!");
    EXPECT_EQ(last().steps.back().reason, reason);
    EXPECT_NE(last().steps.back().advice.find(word), std::string::npos) << last().steps.back().advice;
  }
}

TEST_F(probe, disturbs_no_serving_session) {
  start_all();
  test(subject());
  EXPECT_TRUE(last().ok);
  advance(seconds(1));
  EXPECT_EQ(imap.idling(), 1U);
  imap.add(mail_of("new", 1), wall());
  settle();
  EXPECT_EQ(row().messages.size(), 1U);
}

}  // namespace
}  // namespace mailherd::actors
