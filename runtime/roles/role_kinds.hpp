#pragma once

#include "runtime/roles/abilities.hpp"
#include "runtime/roles/role_setup.hpp"

namespace millrace::roles {

/// Makes a role of whatever kind: loads its model, starts its threads. Takes as long as loading a model takes. A source
/// has none of these abilities: it is a `source_role`.
///
/// `<kind>_role.cpp` of each kind defines `role_abilities made(const role_setup&, const pipeline::<kind>_table&)`.
/// @throws input_error in one line: the model or the checkpoint cannot be used, ...
role_abilities make_role(const role_setup& setup);

} // namespace millrace::roles
