#include "actors/message_types.hpp"

#include "actors/coordinator.hpp"
#include "actors/node_agent.hpp"

namespace millrace::actors {

void add_message_types(caf::actor_system_config& config) {
  config.add_message_type<role_instance>("role_instance")
      .add_message_type<take_prompt>("take_prompt")
      .add_message_type<prompt_row>("prompt_row")
      .add_message_type<find_position>("find_position")
      .add_message_type<source_position>("source_position")
      .add_message_type<generate_group>("generate_group")
      .add_message_type<group_accepted>("group_accepted")
      .add_message_type<cancel_group>("cancel_group")
      .add_message_type<group_generated>("group_generated")
      .add_message_type<new_weights>("new_weights")
      .add_message_type<weights_live>("weights_live")
      .add_message_type<process_group>("process_group")
      .add_message_type<group_columns>("group_columns")
      .add_message_type<fetch_group>("fetch_group")
      .add_message_type<group_fetched>("group_fetched")
      .add_message_type<forget_group>("forget_group")
      .add_message_type<train_batch>("train_batch")
      .add_message_type<batch_report>("batch_report")
      .add_message_type<interrupt_training>("interrupt_training")
      .add_message_type<publish_weights>("publish_weights")
      .add_message_type<weights_published>("weights_published")
      .add_message_type<write_checkpoint>("write_checkpoint")
      .add_message_type<checkpoint_written>("checkpoint_written")
      .add_message_type<peer_up>("peer_up")
      .add_message_type<peer_known>("peer_known")
      .add_message_type<peer_gone>("peer_gone")
      .add_message_type<release_bundles>("release_bundles")
      .add_message_type<start_roles>("start_roles")
      .add_message_type<end_process>("end_process")
      .add_message_type<process_report>("process_report")
      .add_message_type<begin_run>("begin_run")
      .add_message_type<join_run>("join_run")
      .add_message_type<welcome>("welcome")
      .add_message_type<process_up>("process_up")
      .add_message_type<rollout_ready>("rollout_ready")
      .add_message_type<stage_ready>("stage_ready")
      .add_message_type<policy_ready>("policy_ready")
      .add_message_type<role_failed>("role_failed")
      .add_message_type<process_ended>("process_ended")
      .add_message_type<stop_run>("stop_run")
      .add_message_type<checkpoint_stored>("checkpoint_stored")
      .add_message_type<start_on_node>("start_on_node")
      .add_message_type<started_on_node>("started_on_node")
      .add_message_type<kill_on_node>("kill_on_node");
}

} // namespace millrace::actors
