// The pacer: tickets go out within the limits and always come back.
#include "actors/pacer.hpp"

#include "tests/actors/world.hpp"

namespace mailherd::actors {
namespace {

class pace : public test::world {
 public:
  pace() {
    env.options.logins_per_host = 2;
    env.options.logins_per_node = 3;
    it = owned(spawn_pacer(system, env));
  }
  void ask(const std::string& host, int last_success, caf::weak_actor_ptr who) {
    auto r = std::make_shared<login_request>();
    r->host = host;
    r->last_success = wall_time{seconds(last_success)};
    r->then = {std::move(who), [this, last_success](login_ticket t) {
                 EXPECT_TRUE(t);
                 order.push_back(last_success);
                 tickets.push_back(std::move(t));
               }};
    caf::anon_send(it, login_atom::value, std::move(r));
  }
  pacer_actor it;
  std::vector<int> order;
  std::vector<login_ticket> tickets;
};

TEST_F(pace, hands_out_a_ticket_when_one_comes_back) {
  ask("a", 1, me());
  ask("a", 2, me());
  ask("a", 9, me());
  ask("a", 5, me());
  settle();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  tickets.erase(tickets.begin());
  settle();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 5}));
  tickets.clear();
  settle();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 5, 9}));
}

TEST_F(pace, asks_a_host_for_its_part_of_what_the_cluster_may) {
  *env.nodes = 2;
  for (int n = 1; n <= 4; ++n) ask("a", n, me());
  settle();
  EXPECT_EQ(order, (std::vector<int>{1}));
  *env.nodes = 1;   // the other one is gone
  ask("b", 9, me());
  settle();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 9}));
  *env.nodes = 50;
  tickets.clear();
  settle();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 9, 3})) << "never less than one";
}

TEST_F(pace, wastes_no_ticket_on_the_dead) {
  ask("a", 1, me());
  ask("a", 2, me());
  settle();
  {
    auto dead = system.spawn([](caf::event_based_actor*) -> caf::behavior { return {[](const continuation& c) { c.run(); }}; });
    ask("a", 3, caf::actor_cast<caf::weak_actor_ptr>(dead));
    caf::anon_send_exit(dead, caf::exit_reason::kill);
  }
  ask("a", 4, me());
  settle();
  tickets.clear();
  settle();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 4}));
}

TEST_F(pace, gets_its_ticket_back_from_an_asker_that_died_with_the_answer_unread) {
  for (int round = 0; round < 10; ++round) {
    auto dying = system.spawn([](caf::event_based_actor* self) -> caf::behavior {
      self->quit();
      return {[](const continuation& c) { c.run(); }};
    });
    ask("a", round, caf::actor_cast<caf::weak_actor_ptr>(dying));
    settle();
  }
  ask("a", 100, me());
  ask("a", 101, me());
  settle();
  EXPECT_EQ(order, (std::vector<int>{100, 101}));
}

}  // namespace
}  // namespace mailherd::actors
