# The settings of each way to go on from the mle checkpoint, chosen on dev; read by run.sh. Every way may be given its own
# optimizer.lr, the first of all being continued mle's.
OBJECTIVES=${OBJECTIVES:-"mle constant linear exponential inverse_sigmoid self_critical leave_one_out mixer minimum_risk raml"}

settings_of() { # model, name -> overrides
    local sampling="objective=scheduled_sampling trainer.evaluate_every=300 optimizer.lr=0.0003"
    local rewards="trainer.evaluate_every=100 optimizer.lr=0.00005 objective.reward_processes=0"
    case $2 in
        mle) echo objective=mle trainer.evaluate_every=300 optimizer.lr=0.0003 ;;
        constant) echo $sampling objective/decay=constant objective.decay.value=0.75 ;;
        linear) echo $sampling objective/decay=linear objective.decay.c=0.0003 objective.decay.minimum=0.5 ;;
        exponential) echo $sampling objective/decay=exponential objective.decay.k=0.9995 ;;
        inverse_sigmoid) echo $sampling objective/decay=inverse_sigmoid objective.decay.k=200 ;;
        self_critical) echo objective=reinforce $rewards objective/baseline=greedy objective.samples=1 ;;
        leave_one_out) echo objective=reinforce $rewards objective/baseline=leave_one_out objective.samples=5 ;;
        mixer) echo objective=reinforce $rewards objective/baseline=leave_one_out objective.samples=5 \
            objective/handover=mixer objective.handover.start=2 objective.handover.step=2 objective.handover.every=100 ;;
        minimum_risk) echo objective=minimum_risk $rewards objective.samples=5 ;;
        raml) echo objective=raml trainer.evaluate_every=300 optimizer.lr=0.0003 ;;
        *) echo "settings.sh knows no $2" >&2; return 1 ;;
    esac
}
