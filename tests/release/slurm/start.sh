#!/usr/bin/env bash
# A real Slurm of one node on this machine, of Debian's package slurm-wlm and as root: munged, slurmctld, slurmd.
set -euo pipefail
host=$(hostname -s)
mkdir -p /etc/slurm /var/spool/slurmctld /var/spool/slurmd /run/munge
cat >/etc/slurm/slurm.conf <<C
ClusterName=local
SlurmctldHost=$host
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName=$host CPUs=$(nproc) RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
C
chown munge /run/munge
pgrep -x munged >/dev/null || runuser -u munge -- munged
sleep 1
slurmctld
slurmd
for _ in $(seq 20); do sinfo -h -o %T | grep -q idle && exit 0; sleep 1; done
sinfo
exit 1
