# The settings of each way to go on from the mle checkpoint, chosen on dev; read by run.sh. Rewards are noisy, so the objectives
# that follow them keep some of mle (minimum_risk has the reference among its outputs), and take small batches: many updates, of
# five outputs for each sentence. The decays and MIXER's suffix are for 7 minutes on one core: 500-750 updates, and 160-270.
OBJECTIVES=${OBJECTIVES:-"mle constant linear exponential inverse_sigmoid self_critical leave_one_out mixer minimum_risk raml"}

settings_of() { # model, name -> overrides
    local lr=0.0002 greedy_lr=0.0002  # the attention model takes the noise of rewards worse
    [ "$1" = transformer ] || { lr=0.0001; greedy_lr=0.00005; }
    local sampling="objective=scheduled_sampling optimizer.lr=0.0005"
    local rewards="objective.samples=5 objective/reward=chrf batching.max_tokens=1024"
    case $2 in
        mle) echo objective=mle optimizer.lr=0.0005 ;;
        constant) echo $sampling objective/decay=constant objective.decay.value=0.75 ;;
        linear) echo $sampling objective/decay=linear objective.decay.c=0.0007 objective.decay.minimum=0.5 ;;
        exponential) echo $sampling objective/decay=exponential objective.decay.k=0.999 ;;
        inverse_sigmoid) echo $sampling objective/decay=inverse_sigmoid objective.decay.k=150 ;;
        self_critical) echo objective=reinforce $rewards optimizer.lr=$greedy_lr objective/baseline=greedy \
            objective.handover.weight=0.5 ;;
        leave_one_out) echo objective=reinforce $rewards optimizer.lr=$lr objective/baseline=leave_one_out \
            objective.handover.weight=0.5 ;;
        mixer) echo objective=reinforce $rewards optimizer.lr=$lr objective/baseline=leave_one_out \
            objective/handover=mixer objective.handover.start=2 objective.handover.step=1 objective.handover.every=40 ;;
        minimum_risk) echo objective=minimum_risk $rewards optimizer.lr=0.0001 objective.alpha=0.05 ;;
        raml) echo objective=raml optimizer.lr=0.0005 ;;
        *) echo "settings.sh knows no $2" >&2; return 1 ;;
    esac
}
