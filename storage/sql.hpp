// storage/sql: the SQL of this room, compiled in.
//
// Owns:   the types of the generated tables (queries.hpp, queries.cpp: made by embed_sql.cmake from queries/ and migrations/).
// Never:  builds SQL from pieces: every statement is a file, prepared with parameters; a test prepares all of them.
#pragma once

#include <vector>

namespace mailherd::store::sql {

/// A statement with parameters. Its name is its file's name, and the name it is prepared under.
struct query {
  const char* name;
  const char* text;
};

struct migration {
  int version;
  const char* name;
  const char* text;
};

const std::vector<const query*>& all_queries();
const std::vector<migration>& all_migrations();   ///< ascending, without gaps

}  // namespace mailherd::store::sql
