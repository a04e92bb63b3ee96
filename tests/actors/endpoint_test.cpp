// The decisions of one endpoint without an actor, and the signature against published figures.
#include <gtest/gtest.h>

#include "actors/delivery/endpoint.hpp"

namespace mailherd::test {
namespace {

using namespace actors;
using store::event_kind;

wall_time at(std::int64_t s) { return wall_time{std::chrono::seconds(1'700'000'000 + s)}; }

told_event event(std::int64_t channel, std::int64_t position) {
  told_event e;
  e.lane = {event_kind::message, {channel}};
  e.position = position;
  e.id = "m1-" + std::to_string(position);
  e.body = std::make_shared<const std::string>(100, 'x');
  e.due_since = at(0);
  return e;
}

verdict answer(int status) { return judge(net::http_reply{status, {}, ""}, at(0)); }

struct one : ::testing::Test {
  one() : e(load(), at(0)) {}
  static store::webhook_load load() {
    store::webhook_load l;
    l.key = {{1}, {1}};
    return l;
  }
  void feed(std::vector<told_event> events) {
    const auto upto = events.back().position;
    e.heads(upto, 0, false);
    const auto w = e.next_wish(at(0));
    ASSERT_TRUE(w);
    e.loaded(*w, std::move(events), upto, upto);
  }
  endpoint e;
};

TEST(webhook_signature, is_the_one_the_scheme_publishes) {
  const secret<> signing(std::string("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
  const auto headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", wall_time{std::chrono::seconds(1614265330)}, R"({"test": 2432232314})", {&signing, &signing});
  EXPECT_EQ(headers[0].second, "msg_p5jXN8AQM9LWM0D4loKWxJek");
  EXPECT_EQ(headers[1].second, "1614265330");
  EXPECT_EQ(headers[2].second, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

TEST(webhook_verdict, takes_2xx_leaves_at_410_and_tries_everything_else_again) {
  EXPECT_EQ(answer(200).what, verdict::kind::taken);
  EXPECT_EQ(answer(299).what, verdict::kind::taken);
  EXPECT_EQ(answer(410).what, verdict::kind::gone);
  for (const int status : {301, 302, 307, 400, 401, 404, 408, 500, 599}) EXPECT_EQ(answer(status).what, verdict::kind::failed) << status;
  EXPECT_NE(answer(301).error.find("not followed"), std::string::npos);
  EXPECT_EQ(judge(fail(failure::timed_out), at(0)).what, verdict::kind::failed);
  EXPECT_EQ(judge(net::http_reply{503, {{"retry-after", "120"}}, ""}, at(0)).not_before, at(120));
  EXPECT_FALSE(judge(net::http_reply{500, {{"retry-after", "120"}}, ""}, at(0)).not_before);
}

TEST_F(one, has_never_two_requests_of_a_channel_under_way) {
  feed({event(1, 1), event(1, 2), event(2, 3)});
  const auto a = e.take(at(0)), b = e.take(at(0));
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->position, 1);
  EXPECT_EQ(b->position, 3);
  EXPECT_FALSE(e.take(at(0)));
  e.settle(*a, answer(200), {}, at(0), 0);
  EXPECT_EQ(e.take(at(0))->position, 2);
}

TEST_F(one, the_cursor_waits_for_the_oldest_that_is_under_way) {
  feed({event(1, 1), event(2, 2), event(3, 3)});
  const auto a = *e.take(at(0)), b = *e.take(at(0)), c = *e.take(at(0));
  e.settle(c, answer(200), {}, at(0), 0);
  e.settle(b, answer(200), {}, at(0), 0);
  EXPECT_EQ(e.take_progress().message_position, 0);
  e.settle(a, answer(200), {}, at(0), 0);
  EXPECT_EQ(e.take_progress().message_position, 3);
}

TEST_F(one, a_failure_puts_its_channel_aside_and_the_cursor_goes_on) {
  feed({event(1, 1), event(1, 2), event(2, 3)});
  const auto a = *e.take(at(0)), b = *e.take(at(0));
  e.settle(a, answer(500), {}, at(0), 0);
  e.settle(b, answer(200), {}, at(0), 0);
  auto p = e.take_progress();
  EXPECT_EQ(p.message_position, 3);
  ASSERT_EQ(p.stalls.size(), 1U);
  EXPECT_EQ(p.stalls[0].position, 1);
  EXPECT_EQ(e.bytes(), 0U);
  EXPECT_FALSE(e.next_wish(at(0))) << "not yet";
  const auto when = e.next_time(at(0));
  ASSERT_TRUE(when);
  const auto w = e.next_wish(*when);
  ASSERT_TRUE(w);
  EXPECT_EQ(w->after, 0);
  // Meanwhile more of it has come: it is passed over, and the stall goes on to it.
  e.loaded(*w, {event(1, 1), event(1, 2)}, 3, 3);
  for (const auto position : {1, 2}) {
    const auto again = e.take(*when);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->position, position);
    e.settle(*again, answer(200), {}, *when, 0);
  }
  p = e.take_progress();
  EXPECT_EQ(p.caught_up.size(), 1U);
  EXPECT_TRUE(p.stalls.empty());
}

TEST_F(one, mail_that_comes_while_its_channel_is_aside_comes_after_it_and_once) {
  feed({event(1, 1)});
  e.settle(*e.take(at(0)), answer(500), {}, at(0), 0);
  const auto when = *e.next_time(at(0));
  auto lane = e.next_wish(when);
  ASSERT_TRUE(lane);
  // The lane's reading saw position 2 already, which the endpoint itself has not read.
  e.loaded(*lane, {event(1, 1), event(1, 2)}, 2, 2);
  const auto first = *e.take(when);
  e.heads(2, 0, false);
  auto rest = e.next_wish(when);
  ASSERT_TRUE(rest);
  e.loaded(*rest, {event(1, 2)}, 2, 2);
  EXPECT_FALSE(e.take(when)) << "one at a time";
  e.settle(first, answer(200), {}, when, 0);
  lane = e.next_wish(when);
  ASSERT_TRUE(lane);
  EXPECT_EQ(lane->after, 1);
  e.loaded(*lane, {event(1, 2)}, 2, 2);
  EXPECT_EQ(e.take(when)->position, 2);
  EXPECT_FALSE(e.take(when));
}

TEST_F(one, the_circuit_opens_gives_memory_back_and_one_success_closes_it) {
  std::vector<told_event> many;
  for (int i = 1; i <= 40; ++i) many.push_back(event(i, i));
  feed(std::move(many));
  for (unsigned i = 0; i < limits::webhook_circuit_failures; ++i) {
    const auto next = e.take(at(0));
    ASSERT_TRUE(next);
    e.settle(*next, answer(500), {}, at(0), 0);
  }
  EXPECT_TRUE(e.circuit_open());
  EXPECT_FALSE(e.take(at(0)));
  EXPECT_EQ(e.bytes(), 0U) << "what was read ahead is back in the database";
  EXPECT_EQ(e.take_progress().stalls.size(), 40U);
  const auto when = *e.next_time(at(0));
  const auto w = e.next_wish(when);
  ASSERT_TRUE(w);
  EXPECT_EQ(w->limit, 1U) << "a trial";
  EXPECT_GT(w->lane.channel.value, 5) << "by something that never failed";
  e.loaded(*w, {event(w->lane.channel.value, w->lane.channel.value)}, w->lane.channel.value, 40);
  e.settle(*e.take(when), answer(200), {}, when, 0);
  EXPECT_FALSE(e.circuit_open());
  EXPECT_TRUE(e.next_wish(when)) << "all that waited is due";
}

}  // namespace
}  // namespace mailherd::test
