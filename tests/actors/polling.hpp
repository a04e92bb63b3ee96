// tests/actors/polling: the world of fetching.hpp with a POP3 maildrop, and what its tests say often.
//
// Owns:   nothing of its own. Never: decides what a test expects of one message.
#pragma once

#include <string>

#include "tests/actors/fetching.hpp"

namespace mailherd::test {

class polling : public fetching {
 public:
  polling() {
    spec().incoming.protocol = protocol_kind::pop3;
    spec().incoming.port = 995;
    spec().start.from = start_point::kind::all;
  }
  pop3_server& drop() { return fetching::pop3; }
  void fill_drop(int n, const std::string& prefix = "old") {
    for (int i = 1; i <= n; ++i) drop().add(mail_of(prefix, i));
  }
  void uidl_is(bool there) {
    drop().has_uidl = there;
    std::erase(drop().capabilities, "UIDL");
    if (there) drop().capabilities.push_back("UIDL");
  }
  /// As by a server that was moved or set up anew.
  void give_new_uidls() {
    for (auto& m : drop().drop) m.uidl = "anew-" + m.uidl;
  }
  void start_polling() {
    start();
    advance(seconds(2));
  }
  /// So many looks more.
  void poll(int times = 1) { advance(env.options.poll_interval * times + seconds(1)); }
  void expect_drop_once() {
    for (const auto& m : drop().drop) EXPECT_EQ(row().copies_of(m.raw), 1U) << m.raw.substr(0, 90);
    expect_gapless();
  }
};

}  // namespace mailherd::test
