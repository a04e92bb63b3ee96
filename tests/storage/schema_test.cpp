// The schema as such: every statement can be prepared, migrations are idempotent and never go back.
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

TEST_P(schema, a_node_holds_no_rights_that_pass_the_wall) {
  const test_database db(GetParam());
  const auto link = db.connect();
  const auto rows = link->once({}, store::sql::query{"rights", "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"});
  ASSERT_TRUE(rows);
  EXPECT_FALSE((*rows)[0][0].as<bool>());
  EXPECT_EQ(db.query("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
                     " AND relname NOT IN ('key_check', 'incarnations', 'idempotency_keys', 'schema_migrations')"
                     " AND NOT (relrowsecurity AND relforcerowsecurity)"),
            "0")
      << "a table without the wall";
}

}  // namespace
}  // namespace mailherd::test
