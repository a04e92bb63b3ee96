// The schema as such: every statement can be prepared, migrations are idempotent and never go back.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "storage/migrate.hpp"
#include "storage/sql.hpp"
#include "tests/storage/postgres_fixture.hpp"

namespace mailherd::test {
namespace {

class schema : public ::testing::TestWithParam<login> {};
INSTANTIATE_TEST_SUITE_P(logins, schema, ::testing::Values(login::owner, login::superuser),
                         [](const auto& info) { return info.param == login::owner ? "owner" : "superuser"; });

TEST_P(schema, every_query_can_be_prepared) {
  const test_database db(GetParam());
  const auto link = db.connect();
  ASSERT_GT(store::sql::all_queries().size(), 50u);
  for (const auto* q : store::sql::all_queries()) {
    // PREPARE in so many words: pqxx would put it off to the first use.
    const auto done = link->execute(std::string("PREPARE ") + q->name + " AS " + q->text);
    EXPECT_TRUE(done) << q->name << ": " << (done ? "" : describe(done.error()));
  }
}

TEST_P(schema, migrating_twice_changes_nothing) {
  const auto db = test_database::empty(GetParam());
  const auto shape = [&] {
    return db.query(
        "SELECT string_agg(line, E'\\n' ORDER BY line) FROM ("
        "  SELECT format('%s.%s %s %s', table_name, column_name, data_type, column_default) AS line FROM information_schema.columns"
        "  WHERE table_schema = 'public' UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"
        "  UNION ALL SELECT format('%s %s', version, applied_at) FROM schema_migrations) AS all_lines");
  };
  ASSERT_TRUE(store::run_migrations(db.url()));
  const auto before = shape();
  EXPECT_NE(before.find("messages.body bytea"), std::string::npos);
  ASSERT_TRUE(store::run_migrations(db.url()));
  EXPECT_EQ(shape(), before);
  EXPECT_EQ(db.query("SELECT max(version) FROM schema_migrations"), std::to_string(store::schema_version()));
}

TEST_P(schema, a_database_newer_than_the_program_is_refused) {
  const test_database db(GetParam());
  db.query("INSERT INTO schema_migrations (version, name) VALUES (" + std::to_string(store::schema_version() + 1) + ", 'from the future')");
  const auto done = store::run_migrations(db.url());
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, failure::conflict);
  EXPECT_NE(done.error().detail.find("newer"), std::string::npos);
}

// In the middle of an upgrade a node of the version before may crash: it has to come back, not to wait for its turn.
TEST_P(schema, a_newer_database_that_only_added_is_accepted) {
  const test_database db(GetParam());
  const auto now = store::schema_version();
  db.query(fmt::format("INSERT INTO schema_migrations (version, name, oldest) VALUES ({}, 'expands', {})", now + 1, now));
  EXPECT_TRUE(store::run_migrations(db.url()));
  EXPECT_EQ(db.query("SELECT max(version) FROM schema_migrations"), std::to_string(now + 1)) << "and nothing of it is undone";
  db.query(fmt::format("INSERT INTO schema_migrations (version, name, oldest) VALUES ({}, 'contracts', {})", now + 2, now + 1));
  const auto done = store::run_migrations(db.url());
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, failure::conflict);
}

TEST_P(schema, every_migration_says_which_programs_it_leaves_working) {
  const test_database db(GetParam());
  EXPECT_EQ(db.query("SELECT count(*) FROM schema_migrations WHERE oldest IS NULL OR oldest > version"), "0");
}

TEST_P(schema, a_database_of_before_that_is_brought_to_say_it) {
  const test_database db(GetParam());
  db.query("ALTER TABLE schema_migrations DROP COLUMN oldest");
  ASSERT_TRUE(store::run_migrations(db.url()));
  EXPECT_EQ(db.query("SELECT count(*) FROM information_schema.columns WHERE table_name = 'schema_migrations' AND column_name = 'oldest'"), "1");
}

TEST_P(schema, a_node_holds_no_rights_that_pass_the_wall) {
  const test_database db(GetParam());
  const auto link = db.connect();
  const auto rows = link->once({}, store::sql::query{"rights", "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"});
  ASSERT_TRUE(rows);
  EXPECT_FALSE((*rows)[0][0].as<bool>());
  EXPECT_EQ(db.query("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
                     " AND relname NOT IN ('key_check', 'incarnations', 'deliverers', 'idempotency_keys', 'schema_migrations')"
                     " AND NOT (relrowsecurity AND relforcerowsecurity)"),
            "0")
      << "a table without the wall";
}

}  // namespace
}  // namespace mailherd::test
