// The cluster's rows: who is there, shares, and a channel's way from node to node.
#include <fmt/format.h>

#include <set>

#include "storage/admin_store.hpp"
#include "tests/storage/mail_world.hpp"

namespace mailherd::test {
namespace {

using mail_store = store::mail_store;
using part = mail_store::handover::part;
using readiness = mail_store::readiness;

class cluster_test : public mail_world {
 protected:
  cluster_test() { database.query("UPDATE channel_leases SET owner = NULL"); }
  mail_store::incarnation join(const std::string& name, std::size_t capacity = 100) {
    auto life = store.join(name, "1.0", seconds(15), capacity);
    EXPECT_TRUE(life);
    return *life;
  }
  void expire(const mail_store::incarnation& life) const {
    database.query(fmt::format("UPDATE incarnations SET expires_at = now() - interval '1 second' WHERE incarnation_id = {}", life.id.value));
  }
  std::vector<mail_store::handover> handovers(const mail_store::incarnation& of) {
    auto all = store.handovers(of);
    EXPECT_TRUE(all) << (all ? "" : describe(all.error()));
    return all ? *all : std::vector<mail_store::handover>{};
  }
  std::size_t offer(const mail_store::incarnation& from, const std::string& to, std::size_t n,
                    mail_store::move_reason why = mail_store::move_reason::drain) {
    const auto made = store.make_offers(from, why, {{to, n}}, 64);
    EXPECT_TRUE(made) << (made ? "" : describe(made.error()));
    return made ? *made : 0;
  }
};

TEST_F(cluster_test, everybody_sees_who_is_there_and_what_is_free) {
  const auto a = join("a", 500), b = join("b");
  ASSERT_EQ(store.claim(a, 2)->size(), 2U);
  ASSERT_TRUE(store.renew(a, seconds(15), 2));
  ASSERT_TRUE(store.start_draining(b));
  auto seen = store.look_around();
  ASSERT_TRUE(seen) << describe(seen.error());
  ASSERT_EQ(seen->members.size(), 2U);
  EXPECT_EQ(seen->members[0].node, "a");
  EXPECT_EQ(seen->members[0].capacity, 500);
  EXPECT_EQ(seen->members[0].channels, 2);
  EXPECT_FALSE(seen->members[0].draining);
  EXPECT_TRUE(seen->members[1].draining);
  EXPECT_EQ(seen->free, 1);
  EXPECT_LT(seen->settled_seconds, 30);
  database.query("UPDATE incarnations SET started_at = now() - interval '100 seconds'");
  EXPECT_GT(store.look_around()->settled_seconds, 90);
  expire(a);
  seen = store.look_around();
  EXPECT_EQ(seen->members.size(), 1U);
  EXPECT_EQ(seen->free, 3) << "what a node that is over held is free";
  EXPECT_LT(seen->settled_seconds, 30);
}

TEST_F(cluster_test, nodes_that_claim_share_every_tenant) {
  for (int c = 31; c <= 36; ++c) channel(c <= 33 ? 1 : 2, c);
  database.query("UPDATE channel_leases SET owner = NULL");
  const auto a = join("a");
  std::set<std::int64_t> tenants;
  const auto first = store.claim(a, 2);
  for (const auto& g : *first) tenants.insert(g.tenant.value);
  EXPECT_EQ(tenants.size(), 2U) << "one of each first";
}

TEST_F(cluster_test, a_channel_goes_from_node_to_node_in_one_step_of_epoch) {
  const auto a = join("a"), b = join("b");
  const auto held = store.claim(a, 10);
  ASSERT_EQ(held->size(), 3U);
  EXPECT_EQ(offer(a, "b", 1), 1U);
  const auto going = handovers(a);
  ASSERT_EQ(going.size(), 1U);
  EXPECT_EQ(going[0].as, part::going);
  EXPECT_EQ(going[0].node, "b");
  EXPECT_EQ(going[0].why, mail_store::move_reason::drain);
  EXPECT_FALSE(going[0].ready);
  const auto coming = handovers(b);
  ASSERT_EQ(coming.size(), 1U);
  EXPECT_EQ(coming[0].as, part::coming);
  const auto guard = going[0].guard;
  EXPECT_EQ(coming[0].guard.channel, guard.channel);

  EXPECT_TRUE(store.pass_on(a, {{guard, b.id}})->empty()) << "it is not ready";
  ASSERT_TRUE(store.answer_offers(b, {{guard, readiness::alone}}));
  EXPECT_EQ(handovers(a)[0].ready, b.id);
  EXPECT_TRUE(handovers(a)[0].alone);
  EXPECT_TRUE(commit(unit(guard, {mail(1, "still a's")})).status);
  EXPECT_EQ(store.pass_on(a, {{guard, b.id}})->size(), 1U);
  EXPECT_EQ(store.pass_on(a, {{guard, b.id}})->size(), 1U) << "asked again: it is a's no longer";
  EXPECT_EQ(commit(unit(guard, {mail(2, "too late")})).status.error().code, failure::fenced);
  EXPECT_TRUE(handovers(a).empty());
  const auto came = handovers(b);
  ASSERT_EQ(came.size(), 1U);
  EXPECT_EQ(came[0].as, part::came);
  EXPECT_EQ(came[0].guard.epoch, guard.epoch + 1);
  EXPECT_TRUE(commit(unit(came[0].guard, {mail(2, "b's")})).status);
  ASSERT_TRUE(store.take_passed(b, {came[0].guard}));
  EXPECT_TRUE(handovers(b).empty());
}

TEST_F(cluster_test, nothing_is_passed_on_to_a_node_that_died_or_is_wanted_no_longer) {
  const auto a = join("a"), b = join("b");
  ASSERT_EQ(store.claim(a, 10)->size(), 3U);
  EXPECT_EQ(offer(a, "b", 2), 2U);
  const auto going = handovers(a);
  ASSERT_TRUE(store.answer_offers(b, {{going[0].guard, readiness::ready}, {going[1].guard, readiness::ready}}));
  ASSERT_TRUE(store.withdraw_offers(a, {going[1].guard}));
  EXPECT_TRUE(store.pass_on(a, {{going[1].guard, b.id}})->empty());
  expire(b);
  EXPECT_FALSE(handovers(a)[0].ready) << "an heir that is over is none";
  EXPECT_TRUE(store.pass_on(a, {{going[0].guard, b.id}})->empty());
  EXPECT_TRUE(commit(unit(going[0].guard, {mail(1, "a goes on")})).status);
}

TEST_F(cluster_test, a_refusal_is_told_and_a_claim_ends_every_wish) {
  const auto a = join("a"), b = join("b");
  ASSERT_EQ(store.claim(a, 10)->size(), 3U);
  EXPECT_EQ(offer(a, "b", 1, mail_store::move_reason::rebalance), 1U);
  const auto guard = handovers(a)[0].guard;
  ASSERT_TRUE(store.answer_offers(b, {{guard, readiness::refused}}));
  EXPECT_TRUE(handovers(a)[0].refused);
  ASSERT_TRUE(store.withdraw_offers(a, {guard}));
  EXPECT_EQ(offer(a, "b", 3, mail_store::move_reason::rebalance), 2U) << "what was refused lately is left alone";
  EXPECT_EQ(offer(a, "b", 3), 1U) << "but for a drain everything goes";
  expire(a);
  EXPECT_EQ(store.claim(b, 10)->size(), 3U);
  EXPECT_TRUE(handovers(b).empty());
}

TEST_F(cluster_test, moves_for_balance_are_bounded_in_the_whole_cluster) {
  const auto a = join("a");
  join("b");
  ASSERT_EQ(store.claim(a, 10)->size(), 3U);
  EXPECT_EQ(store.make_offers(a, mail_store::move_reason::rebalance, {{"b", 3}}, 2).value(), 2U);
  EXPECT_EQ(store.make_offers(a, mail_store::move_reason::rebalance, {{"b", 1}}, 2).value(), 0U);
}

TEST_F(cluster_test, an_operator_drains_and_moves_through_rows) {
  store::pg_admin_store admin(*link, *keys);
  const auto a = join("a"), b = join("b");
  EXPECT_EQ(admin.move_channel({}, {1}, {11}, "b", "operator").error().code, failure::conflict) << "nobody holds it";
  ASSERT_EQ(store.claim(a, 10)->size(), 3U);
  EXPECT_EQ(admin.move_channel({}, {1}, {99}, "b", "operator").error().code, failure::not_found);
  EXPECT_EQ(admin.move_channel({}, {1}, {11}, "nobody", "operator").error().code, failure::invalid_input);
  ASSERT_TRUE(admin.move_channel({}, {1}, {11}, "a", "operator"));
  EXPECT_TRUE(handovers(a).empty()) << "it is there already";
  ASSERT_TRUE(admin.move_channel({}, {1}, {11}, "b", "operator"));
  EXPECT_EQ(handovers(b).size(), 1U);
  EXPECT_EQ(admin.list_events({}, {1}, {11}, 1, "")->items.at(0).kind, "move");
  ASSERT_TRUE(admin.drain_node("b"));
  EXPECT_EQ(admin.list_nodes()->at(1).state, "draining");
  EXPECT_EQ(admin.move_channel({}, {1}, {12}, "b", "operator").error().code, failure::conflict);
  EXPECT_EQ(admin.drain_node("nobody").error().code, failure::not_found);
  expire(b);
  EXPECT_EQ(admin.list_nodes()->at(1).state, "lost");
  EXPECT_EQ(admin.drain_node("b").error().code, failure::conflict);
}

}  // namespace
}  // namespace mailherd::test
